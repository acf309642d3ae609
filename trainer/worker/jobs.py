"""The jobs that a worker does besides training: class images, and pictures from a LoRA."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..config import PriorConfig
from ..errors import ConfigError
from ..events import Event, Finished, Sample
from ..files import write_unique
from ..fingerprint import model_sha256
from ..model_file import identify
from .class_images import ClassImagesJob, make_class_images, png_bytes
from .control import Control
from .lora import file_name
from .prepare import Parts, encode_table
from .sample import Sampler, draw, starting_noise


@dataclass(frozen=True)
class Lora:
    """A LoRA file and how strongly it acts."""

    path: Path
    strength: float = 1.0


@dataclass(frozen=True)
class Pictures:
    """Pictures to draw.

    Args:
        prompts: one picture each, times `number`.
        size: height and width in pixels.
        seed: of the first picture; each further one has the next.
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
    """Make class images; gives the last event and their folder."""
    began = time.monotonic()
    table = encode_table(parts, [prior.class_prompt, prior.class_negative_prompt])
    parts.release("text encoder")
    job = ClassImagesJob(
        prior=prior,
        resolution=resolution,
        base_key=model_sha256(parts.base.path),
        cache=cache,
        load_drawer=parts.drawer,
        prompts=(table[[prior.class_prompt]], table[[prior.class_negative_prompt]]),
    )
    make_class_images(job, parts.report, control)
    return Finished(0, "", time.monotonic() - began), job.images.folder


def sample_job(parts: Parts, pictures: Pictures, lora: Lora | None, control: Control) -> Event:
    """Draw pictures with the base and, if given, a LoRA; gives the last event."""
    began = time.monotonic()
    if lora is not None:
        merge_lora(parts, lora)
    table = encode_table(parts, [*pictures.prompts, pictures.negative_prompt])
    parts.release("text encoder")
    drawer = parts.drawer()
    sampler = Sampler(
        pictures.size, pictures.guidance_scale, pictures.inference_steps, control.check
    )
    prompts = [prompt for prompt in pictures.prompts for _ in range(pictures.number)]
    for index, prompt in enumerate(prompts):
        seed = pictures.seed + index
        noise = starting_noise(drawer, sampler, seed)
        drawn = draw(drawer, sampler, table[[prompt]], table[[pictures.negative_prompt]], noise)
        pictures.output.mkdir(parents=True, exist_ok=True)
        data = png_bytes(drawn[0])
        path = write_unique(pictures.output, f"sample_{seed}", ".png", lambda _, data=data: data)
        parts.report(Sample(0, str(path), prompt, seed))
    return Finished(0, "", time.monotonic() - began)


@torch.no_grad()
def merge_lora(parts: Parts, lora: Lora) -> None:
    """Add strength * (alpha / rank) * up @ down to every layer that the file names.

    Raises:
        ConfigError: the file is no LoRA, or has weights that this base has no place for.
    """
    if identify(lora.path).kind != "lora":
        raise ConfigError(f"{lora.path} is no LoRA.", "Give a LoRA .safetensors file.")
    if not math.isfinite(lora.strength):
        raise ConfigError(f"strength is {lora.strength}.", "Give a number; 1 is usual.")
    weights = load_file(lora.path)
    for name, value in weights.items():
        if not value.float().isfinite().all():
            raise ConfigError(f"{lora.path}: {name[:200]} is no number.", "Use another LoRA.")
    for prefix, model in named_models(parts):
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                add_delta(module, file_name(prefix, name), weights, lora.strength)
    if weights:
        raise ConfigError(
            f"{lora.path.name} has {len(weights)} weights that {parts.base.path.name} has no place "
            f"for, as {next(iter(weights))[:200]}.",
            f"Use it with the base that it was trained on, not with {parts.base.family.title}.",
        )


def named_models(parts: Parts) -> list[tuple[str, nn.Module]]:
    kinds = parts.base.family.text_encoders
    encoders = zip(kinds, parts.text_encoders, strict=True)
    return [("lora_unet", parts.unet), *((kind.lora_prefix, model) for kind, model in encoders)]


def add_delta(module: nn.Linear, name: str, weights: dict[str, Tensor], strength: float) -> None:
    """Take a layer's LoRA weights out of the file's, if they fit, and add them to the layer."""
    keys = [f"{name}.lora_up.weight", f"{name}.lora_down.weight"]
    if not all(key in weights for key in keys):
        return
    up, down = (weights[key].float() for key in keys)
    alpha = weights.get(f"{name}.alpha", torch.tensor(float(up.shape[-1] if up.ndim else 0)))
    if up.ndim != 2 or down.ndim != 2 or not len(down) or alpha.numel() != 1:
        return
    if up.shape[1] != len(down) or (len(up), down.shape[1]) != module.weight.shape:
        return
    for key in [*keys, f"{name}.alpha"]:
        weights.pop(key, None)
    delta = strength * alpha.item() / len(down) * (up @ down)
    module.weight.copy_(module.weight.float() + delta.to(module.weight.device))
