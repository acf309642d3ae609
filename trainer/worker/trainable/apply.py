"""A LoRA file on the base, for sampling: the same layers as in training, through peft."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import ConfigError
from ...model_files.identify import identify
from ..base.models import BaseModel
from ..base.parts import Parts
from ..base.prompts import PromptTable, encode_table
from .lora import ADAPTER, UNET_PREFIX, file_name, inject

__all__ = ["LoraFile", "encode_with"]

DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
KINDS = (nn.Linear, nn.Conv2d)  # of layers that a LoRA can be on


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file and how strongly it acts."""

    path: Path
    strength: float = 1.0


def encode_with(parts: Parts, lora: LoraFile | None, prompts: Sequence[str]) -> PromptTable:
    """Apply a LoRA if there is one, and encode prompts; the text encoders are released afterwards.

    The base's own weights stay: in half precision what was learned would be rounded away. The text
    encoders are released before the U-Net is loaded.

    Raises:
        ConfigError: the file is not a LoRA, or has weights that this base has no place for.
    """
    weights = {} if lora is None else read_lora(lora)
    if lora is not None:
        kinds = parts.base.family.text_encoders
        for kind, encoder in zip(kinds, parts.text_encoders, strict=True):
            attach(kind.lora_prefix, encoder, weights, lora.strength)
    table = encode_table(parts.base.family, parts.text_encoders, prompts)
    parts.release("text encoder")
    if lora is not None:
        attach(UNET_PREFIX, parts.unet, weights, lora.strength)
        refuse_rest(weights, lora, parts.base)
    return table


def read_lora(lora: LoraFile) -> dict[str, Tensor]:
    """Return the weights of a LoRA file by name.

    Raises:
        ConfigError: it is not a LoRA, or holds values that are NaN or infinite.
    """
    if identify(lora.path).kind != "lora":
        raise ConfigError(f"{lora.path} is not a LoRA.", "Give a LoRA .safetensors file.")
    if not math.isfinite(lora.strength):
        raise ConfigError(f"strength is {lora.strength}.", "Give a number; 1 is usual.")
    weights = load_file(lora.path)
    for name, value in weights.items():
        if not value.float().isfinite().all():
            raise ConfigError(f"{lora.path}: {name[:200]} is NaN or infinite.", "Use another LoRA.")
    return weights


def refuse_rest(weights: Mapping[str, Tensor], lora: LoraFile, base: BaseModel) -> None:
    """Refuse weights that no layer took."""
    if weights:
        raise ConfigError(
            f"{lora.path.name} has {len(weights)} weights that {base.path.name} has no place "
            f"for, such as {next(iter(weights))[:200]}.",
            f"Use it with the base that it was trained on, not with {base.family.title}.",
        )


@torch.no_grad()
def attach(prefix: str, model: nn.Module, weights: dict[str, Tensor], strength: float) -> None:
    """Give a model's layers their own of a file's weights, which are then removed from these.

    Each adds strength * (alpha / rank) * up @ down @ input.
    """
    found = {
        name: file_name(prefix, name)
        for name, module in model.named_modules()
        if isinstance(module, KINDS) and belongs(module, file_name(prefix, name), weights)
    }
    if not found:
        return
    ranks = {module: len(weights[name + DOWN]) for module, name in found.items()}
    for rank in set(ranks.values()):
        names = [module for module in found if ranks[module] == rank]
        targets = "|".join(map(re.escape, names))
        layers = inject(prefix, model, {"r": rank, "target_modules": targets})
        for module in names:
            fill(layers[found[module]], found[module], weights, strength)


def fill(layer: Any, name: str, weights: dict[str, Tensor], strength: float) -> None:
    """Move a layer's projections out of a file's weights into it, in the base's precision."""
    down, up = weights.pop(name + DOWN), weights.pop(name + UP)
    alpha = weights.pop(name + ALPHA, torch.tensor(float(len(down))))
    like = layer.get_base_layer().weight
    layer.lora_A[ADAPTER].weight.data = down.to(like)
    layer.lora_B[ADAPTER].weight.data = up.to(like)
    layer.scaling[ADAPTER] = strength * alpha.item() / len(down)


def belongs(module: Any, name: str, weights: Mapping[str, Tensor]) -> bool:
    """Whether a file has a whole pair of projections of a layer's size."""
    down, up = weights.get(name + DOWN), weights.get(name + UP)
    if down is None or up is None or not down.ndim or not len(down):
        return False
    if weights.get(name + ALPHA, torch.ones(())).numel() != 1:
        return False
    out, *rest = module.weight.shape  # a convolution's kernel is down's alone
    kernel = [1] * (len(rest) - 1)
    return list(down.shape[1:]) == rest and list(up.shape) == [out, len(down), *kernel]
