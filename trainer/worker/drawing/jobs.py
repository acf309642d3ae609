"""Jobs other than training: generating class images, and sampling with or without a LoRA."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config.concept import PriorConfig
from ...files.atomic import write_unique
from ...photos.pictures import png_bytes
from ...runs.control import Control
from ...runs.events import Event, Finished, Sample
from ..base.parts import Parts
from ..base.prompts import encode_table
from ..trainable.apply import LoraFile, encode_with
from .class_images import ClassImagesJob, make_class_images, shaping
from .image_text import image_text
from .sampler import Drawer, Sampler, draw_series

__all__ = ["Pictures", "class_images_job", "sample_job"]


@dataclass(frozen=True)
class Pictures:
    """The images to generate.

    Args:
        number: images per prompt.
        seed: of the first image; each further image has the next seed.
        size: height and width in pixels.
        output: the folder to write to.
    """

    prompts: Sequence[str]
    number: int
    negative_prompt: str
    guidance_scale: float
    inference_steps: int
    seed: int
    size: tuple[int, int]
    output: Path


def class_images_job(
    parts: Parts, prior: PriorConfig, resolution: int, cache: Path, control: Control
) -> tuple[Event, Path]:
    """Generate class images; return the last event and the images' folder."""
    began = time.monotonic()
    prompts = [prior.class_prompt, prior.class_negative_prompt]
    table = encode_table(parts.base.family, parts.text_encoders, prompts, control.check)
    parts.release("text encoder")
    job = ClassImagesJob(
        prior=prior,
        resolution=resolution,
        model=parts.base,
        base=shaping(parts.base, control.check),
        cache=cache,
        load_drawer=lambda: Drawer.of(parts),
        prompts=(table[[prior.class_prompt]], table[[prior.class_negative_prompt]]),
    )
    make_class_images(job, parts.report, control)
    return Finished(0, "", "", time.monotonic() - began), job.images.folder


def sample_job(parts: Parts, pictures: Pictures, lora: LoraFile | None, control: Control) -> Event:
    """Generate images with the base and, if given, a LoRA; return the last event."""
    began = time.monotonic()
    texts = [*pictures.prompts, pictures.negative_prompt]
    table = encode_with(parts, lora, texts, control.check)
    sampler = Sampler(
        pictures.size, pictures.guidance_scale, pictures.inference_steps, control.check
    )
    prompts = [prompt for prompt in pictures.prompts for _ in range(pictures.number)]
    seeds = [pictures.seed + index for index in range(len(prompts))]
    encoded = [table[[prompt]] for prompt in prompts]
    negative = table[[pictures.negative_prompt]]
    series = draw_series(Drawer.of(parts), sampler, encoded, negative, seeds)
    for prompt, seed, picture in zip(prompts, seeds, series, strict=True):
        pictures.output.mkdir(parents=True, exist_ok=True)
        text = image_text(
            parts.base, sampler, prompt, pictures.negative_prompt, seed, lora_text(lora)
        )
        data = png_bytes(picture, text)
        path = write_unique(pictures.output, f"sample_{seed}", ".png", lambda _, data=data: data)
        parts.report(Sample(0, str(path), prompt, seed))
    return Finished(0, "", "", time.monotonic() - began)


def lora_text(lora: LoraFile | None) -> str:
    return "" if lora is None else f"{lora.path.stem} ({lora.strength:g})"
