"""Carry out a host's orders other than training: class images, comparisons, rated words."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from ...config.concept import PriorConfig
from ...config.config import Config, read_group
from ...config.drawing import read_drawing
from ...config.model import ModelConfig
from ...config.optimization import TrainingConfig
from ...prompts.identifiers import check_noun, check_word
from ...runs.control import Control, Report
from ...runs.events import Event, Finished
from ...runs.orders import Compare, MakeClassImages, RateWords
from ...runs.run import Run
from ..base import models
from ..base.parts import open_parts
from ..evaluation.priors import Question, rate_words
from ..trainable.apply import LoraFile
from .jobs import Pictures, class_images_job, sample_job

__all__ = ["run_class_images", "run_compare", "run_rating"]


def run_class_images(order: MakeClassImages, run: Run, report: Report, control: Control) -> Event:
    """Generate the class images that these settings need for training; return the last event."""
    settings = order.settings
    model = read_group(ModelConfig, settings)
    resolution, precision = read_drawing(model, settings)
    parts = open_parts(model, precision, report)
    prior = read_group(PriorConfig, settings)
    side = resolution or parts.base.resolution
    last, _ = class_images_job(parts, prior, side, run.cache, control)
    return last


def run_compare(order: Compare, report: Report, control: Control) -> Event:
    """Sample a training's prompts with the base, then with its LoRA from the same seeds.

    Returns:
        The last event.
    """
    config = models.with_resolution(Config.from_dict(order.config))
    samples, side = config.samples, config.resolution
    pictures = Pictures(
        prompts=config.sample_prompts,
        number=order.number,
        negative_prompt=samples.sample_negative_prompt,
        guidance_scale=samples.sample_guidance_scale,
        inference_steps=samples.sample_inference_steps,
        seed=samples.sample_seed,
        size=(side, side),
        output=Path(order.output),
    )
    precision = config.training.mixed_precision
    for name, lora in (("before", None), ("after", LoraFile(Path(order.lora)))):
        parts = open_parts(config.model, precision, report)
        folder = pictures.output / name
        last = sample_job(parts, replace(pictures, output=folder), lora, control)
    return last


def run_rating(order: RateWords, report: Report, control: Control) -> Event:
    """Rate words with a base, and report each; return the last event."""
    began = time.monotonic()
    words = [check_word(word) for word in order.words]
    question = Question(check_noun(order.class_noun), words, order.number)
    model = read_group(ModelConfig, order.settings)
    precision = read_group(TrainingConfig, order.settings).mixed_precision
    for rating in rate_words(open_parts(model, precision, report), question, control.check):
        report(rating)
    return Finished(0, "", "", time.monotonic() - began)
