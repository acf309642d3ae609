"""The jobs that a worker does besides training: class images, and pictures from a LoRA."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ...config.config import PriorConfig
from ...errors import ConfigError
from ...files.atomic import write_unique
from ...model_files.identify import identify
from ...runs.control import Control
from ...runs.events import Event, Finished, Sample
from ..base.models import BaseModel
from ..trainable.lora import UNET_PREFIX, file_name
from ..training.prepare import Parts, PromptTable, encode_table
from .class_images import ClassImagesJob, make_class_images, png_bytes, shaping
from .sampler import Sampler, draw, starting_noise


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
        base=shaping(parts.base),
        cache=cache,
        load_drawer=parts.drawer,
        prompts=(table[[prior.class_prompt]], table[[prior.class_negative_prompt]]),
    )
    make_class_images(job, parts.report, control)
    return Finished(0, "", "", time.monotonic() - began), job.images.folder


def sample_job(parts: Parts, pictures: Pictures, lora: Lora | None, control: Control) -> Event:
    """Draw pictures with the base and, if given, a LoRA; gives the last event."""
    began = time.monotonic()
    table = encode_with(parts, lora, [*pictures.prompts, pictures.negative_prompt])
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
    return Finished(0, "", "", time.monotonic() - began)


def encode_with(parts: Parts, lora: Lora | None, prompts: Sequence[str]) -> PromptTable:
    """Apply a LoRA if there is one, and encode prompts; the text encoders are let go afterwards."""
    if lora is not None:
        return apply_lora(parts, lora, prompts)
    table = encode_table(parts, prompts)
    parts.release("text encoder")
    return table


def apply_lora(parts: Parts, lora: Lora, prompts: Sequence[str]) -> PromptTable:
    """Let every layer that the file names add strength * (alpha / rank) * up @ down @ input.

    The base's own weights stay: in half precision what was learnt would be rounded away. Gives the
    encoded prompts; the text encoders are let go before the U-Net is loaded.

    Raises:
        ConfigError: the file is no LoRA, or has weights that this base has no place for.
    """
    weights = read_lora(lora)
    attach(text_encoder_models(parts), weights, lora.strength)
    table = encode_table(parts, prompts)
    parts.release("text encoder")
    attach([(UNET_PREFIX, parts.unet)], weights, lora.strength)
    refuse_rest(weights, lora, parts.base)
    return table


def read_lora(lora: Lora) -> dict[str, Tensor]:
    """The weights of a LoRA file by name.

    Raises:
        ConfigError: it is no LoRA, or holds values that are no numbers.
    """
    if identify(lora.path).kind != "lora":
        raise ConfigError(f"{lora.path} is no LoRA.", "Give a LoRA .safetensors file.")
    if not math.isfinite(lora.strength):
        raise ConfigError(f"strength is {lora.strength}.", "Give a number; 1 is usual.")
    weights = load_file(lora.path)
    for name, value in weights.items():
        if not value.float().isfinite().all():
            raise ConfigError(f"{lora.path}: {name[:200]} is no number.", "Use another LoRA.")
    return weights


def refuse_rest(weights: Mapping[str, Tensor], lora: Lora, base: BaseModel) -> None:
    """Refuse weights that no layer took."""
    if weights:
        raise ConfigError(
            f"{lora.path.name} has {len(weights)} weights that {base.path.name} has no place "
            f"for, as {next(iter(weights))[:200]}.",
            f"Use it with the base that it was trained on, not with {base.family.title}.",
        )


def text_encoder_models(parts: Parts) -> list[tuple[str, nn.Module]]:
    kinds = parts.base.family.text_encoders
    encoders = zip(kinds, parts.text_encoders, strict=True)
    return [(kind.lora_prefix, model) for kind, model in encoders]


def attach(
    models: Iterable[tuple[str, nn.Module]], weights: dict[str, Tensor], strength: float
) -> None:
    """Give all layers their own of a file's weights, which are then taken out of these."""
    for prefix, model in models:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                attach_one(module, file_name(prefix, name), weights, strength)


def attach_one(module: nn.Linear, name: str, weights: dict[str, Tensor], strength: float) -> None:
    keys = [f"{name}.lora_up.weight", f"{name}.lora_down.weight"]
    if not all(key in weights for key in keys):
        return
    up, down = (weights[key].to(module.weight) for key in keys)
    alpha = weights.get(f"{name}.alpha", torch.tensor(float(up.shape[-1] if up.ndim else 0)))
    if up.ndim != 2 or down.ndim != 2 or not len(down) or alpha.numel() != 1:
        return
    if up.shape[1] != len(down) or (len(up), down.shape[1]) != module.weight.shape:
        return
    for key in [*keys, f"{name}.alpha"]:
        weights.pop(key, None)
    scale = strength * alpha.item() / len(down)

    def add(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output + scale * F.linear(F.linear(inputs[0], down), up)

    module.register_forward_hook(add)
