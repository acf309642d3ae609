"""The terminal's commands that generate images: class images, and samples of a base or LoRA."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.concept import PriorConfig
from ..config.config import read_group
from ..config.drawing import drawing_settings, read_drawing, require_class_images
from ..config.model import ModelConfig
from ..config.settings import settings_of
from ..errors import ConfigError
from ..model_files.header import read_header
from ..prompts.lists import PROMPT_LISTS, SUBJECT, filled, trained_prompt
from ..runs.events import Event
from .flags import CACHE, add_events, add_settings, at_least, finite, given_values
from .show import run_job, show

if TYPE_CHECKING:
    from ..runs.control import Control, Report

__all__ = ["add_class_images", "add_sample"]


def add_class_images(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `class-images`."""
    specs = [*settings_of(ModelConfig), *settings_of(PriorConfig), *drawing_settings()]
    add_settings(parser, specs)
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the class images")
    add_events(parser)
    parser.set_defaults(execute=run_class_images)


def add_sample(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `sample`."""
    add_settings(parser, [*settings_of(ModelConfig), *drawing_settings()])
    parser.add_argument("--lora", type=Path, help="LoRA file")
    parser.add_argument("--strength", type=finite, default=1.0, help="strength of the LoRA")
    parser.add_argument(
        "--prompt", nargs="+", default=[], help="one or more prompts; {subject} is replaced"
    )
    parser.add_argument(
        "--prompts-list", choices=list(PROMPT_LISTS), help="prompts for trying out what was learned"
    )
    parser.add_argument(
        "--subject", help='words for {subject}, such as "sks dog" (default: what the LoRA trained)'
    )
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--number", type=at_least(1), default=1, help="images per prompt")
    parser.add_argument("--guidance-scale", type=finite, default=7.5)
    parser.add_argument("--steps", type=at_least(1), default=25, help="sampling steps")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the first image")
    parser.add_argument("--output", type=Path, default=Path("samples"), help="folder of the images")
    add_events(parser)
    parser.set_defaults(execute=run_sample)


def run_class_images(options: argparse.Namespace) -> int:
    values = given_values(options)
    model, prior = read_group(ModelConfig, values), read_group(PriorConfig, values)
    require_class_images(prior)
    resolution, precision = read_drawing(model, values)

    def execute(report: Report, control: Control) -> Event:
        from ..worker.base.parts import open_parts
        from ..worker.drawing.jobs import class_images_job

        parts = open_parts(model, precision, report)
        side = resolution or parts.base.resolution
        last, folder = class_images_job(parts, prior, side, options.cache, control)
        show(f"Class images: {folder}", sys.stderr)
        return last

    return run_job(options, None, execute)


def run_sample(options: argparse.Namespace) -> int:
    values = given_values(options)
    model = read_group(ModelConfig, values)
    resolution, precision = read_drawing(model, values)
    prompts = sample_prompts(options)

    def execute(report: Report, control: Control) -> Event:
        from ..worker.base.parts import open_parts
        from ..worker.drawing.jobs import Pictures, sample_job
        from ..worker.trainable.apply import LoraFile

        parts = open_parts(model, precision, report)
        side = resolution or parts.base.resolution
        lora = None if options.lora is None else LoraFile(options.lora, options.strength)
        pictures = Pictures(
            prompts=prompts,
            number=options.number,
            negative_prompt=options.negative_prompt,
            guidance_scale=options.guidance_scale,
            inference_steps=options.steps,
            seed=options.seed,
            size=(side, side),
            output=options.output,
        )
        return sample_job(parts, pictures, lora, control)

    return run_job(options, None, execute)


def sample_prompts(options: argparse.Namespace) -> list[str]:
    """Return the prompts to sample, with the subject filled in.

    Raises:
        ConfigError: there are none, or no words for the subject.
    """
    prompts = [*options.prompt, *PROMPT_LISTS.get(options.prompts_list, ())]
    if not prompts:
        raise ConfigError("There is no prompt.", "Give --prompt or --prompts-list.")
    if not any(SUBJECT in prompt for prompt in prompts):
        return prompts
    subject = options.subject
    if subject is None and options.lora is not None:
        subject = trained_prompt(read_header(options.lora).metadata)
    if not subject:
        raise ConfigError(
            f"The prompts contain {SUBJECT}, but no words for it are known.",
            'Give --subject, such as --subject "sks dog".',
        )
    return filled(prompts, [subject])
