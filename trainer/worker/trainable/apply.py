"""A LoRA file on the base, for sampling: the same layers as in training, through peft."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
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
from ..base.quantised import compute_dtype, shape_of
from .layer_names import LayerWeights, by_layer, layer_names
from .lora import ADAPTER, UNET_PREFIX, file_name, inject

__all__ = ["LoraFile", "encode_with"]


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file and how strongly it acts."""

    path: Path
    strength: float = 1.0


def encode_with(
    parts: Parts,
    lora: LoraFile | None,
    prompts: Sequence[str],
    check: Callable[[], None] = lambda: None,
) -> PromptTable:
    """Apply a LoRA if there is one, and encode prompts; the text encoders are released afterwards.

    The base's own weights stay: in half precision what was learned would be rounded away. The text
    encoders are released before the U-Net is loaded.

    Args:
        check: called before each prompt; raises Stop.

    Raises:
        ConfigError: the file is not a LoRA, or has weights that this base has no place for.
    """
    layers: LayerWeights = {} if lora is None else by_layer(read_lora(lora))
    if lora is not None:
        kinds = parts.base.family.text_encoders
        for kind, encoder in zip(kinds, parts.text_encoders, strict=True):
            attach(kind.lora_prefix, encoder, layers, lora.strength)
    table = encode_table(parts.base.family, parts.text_encoders, prompts, check)
    parts.release("text encoder")
    if lora is not None:
        attach(UNET_PREFIX, parts.unet, layers, lora.strength)
        refuse_rest(layers, lora, parts.base)
    return table


def read_lora(lora: LoraFile) -> dict[str, Tensor]:
    """Return the weights of a LoRA file by name.

    Raises:
        ConfigError: it is not a LoRA, or holds values that are NaN or infinite.
    """
    file = identify(lora.path)
    if file.kind != "lora":
        raise ConfigError(
            f"{lora.path} is {file.description}, not a LoRA.", "Give a LoRA .safetensors file."
        )
    if not math.isfinite(lora.strength):
        raise ConfigError(f"strength is {lora.strength}.", "Give a number; 1 is usual.")
    weights = load_file(lora.path)
    for name, value in weights.items():
        if not value.float().isfinite().all():
            raise ConfigError(f"{lora.path}: {name[:200]} is NaN or infinite.", "Use another LoRA.")
    return weights


def refuse_rest(layers: LayerWeights, lora: LoraFile, base: BaseModel) -> None:
    """Refuse a file of which no layer took some weights, for the reason that applies."""
    if not layers:
        return
    file = identify(lora.path)
    name, parts = next(iter(layers.items()))
    number = sum(map(len, layers.values()))
    found = f"{lora.path.name} has {number} weights that {base.path.name} has no place for"
    example = f"such as {name[:200]} ({', '.join(parts)[:200]})"
    if file.family not in (None, base.family.name):
        raise ConfigError(
            f"{lora.path.name} is {file.description}, and {base.path.name} is {base.family.title}.",
            "Use it with the base that it was trained on.",
        )
    kinds = {part for found in layers.values() for part in found} - {"down", "up", "mid", "alpha"}
    if kinds:
        raise ConfigError(
            f"{lora.path.name} has weights of a kind that sample does not apply: "
            f"{', '.join(sorted(kinds))[:200]} ({name[:200]}).",
            "Only LoRA and LoCon layers are applied here. Use ComfyUI, A1111 or Forge with it.",
        )
    raise ConfigError(
        f"{found}, {example}.",
        "Use the base that it was trained on. If this is it, the file is damaged, or names its "
        "layers in a way that is not read here; the hosts may read it.",
    )


@torch.no_grad()
def attach(prefix: str, model: nn.Module, layers: LayerWeights, strength: float) -> None:
    """Give a model's layers their own of a file's weights, which are then removed from these.

    Each adds strength * (alpha / rank) * up @ down @ input.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for alias, name in layer_names(prefix, model).items():
        module = model.get_submodule(name)
        if alias in layers and name not in found and belongs(module, layers[alias]):
            found[name] = layers.pop(alias)
    for rank in {len(parts["down"]) for parts in found.values()}:
        names = [name for name, parts in found.items() if len(parts["down"]) == rank]
        targets = "|".join(map(re.escape, names))
        wrapped = inject(prefix, model, {"r": rank, "target_modules": targets})
        for name in names:
            fill(wrapped[file_name(prefix, name)], found[name], strength)


def fill(layer: Any, parts: Mapping[str, Tensor], strength: float) -> None:
    """Put a layer's projections into it, in the base's precision."""
    base: Any = layer.get_base_layer()
    device, dtype = next(base.parameters()).device, compute_dtype(base)
    down, up = projections(parts, shape_of(base))
    alpha = parts.get("alpha", torch.tensor(float(len(down))))
    layer.lora_A[ADAPTER].weight.data = down.to(device, dtype)
    layer.lora_B[ADAPTER].weight.data = up.to(device, dtype)
    layer.scaling[ADAPTER] = strength * alpha.item() / len(down)


def projections(parts: Mapping[str, Tensor], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the down and up projections for a layer whose weight has this shape.

    A 1x1 convolution and a linear layer are the same. Of a convolution in three factors (LoCon
    with `lora_mid`), the first two are one convolution to `rank` channels.
    """
    down, up = parts["down"], parts["up"]
    if "mid" in parts:
        mid = parts["mid"].float()
        down = torch.einsum("mnkl,ni->mikl", mid, down.float().flatten(1))
    if len(shape) == 2:
        return down.flatten(1), up.flatten(1)
    return down.reshape(*down.shape, 1, 1) if down.ndim == 2 else down, up.flatten(1)[
        ..., None, None
    ]


def belongs(module: Any, parts: Mapping[str, Tensor]) -> bool:
    """Whether a file has a whole set of projections of a layer's size, and no more for it."""
    if not {"down", "up"} <= parts.keys() <= {"down", "up", "mid", "alpha"}:
        return False
    if parts.get("alpha", torch.ones(())).numel() != 1 or not fits_together(parts):
        return False
    shape = shape_of(module)  # a stored weight may have another
    down, up = projections(parts, shape)
    whole = (up.shape[0], *down.shape[1:])
    return whole == shape


def fits_together(parts: Mapping[str, Tensor]) -> bool:
    """Whether the factors can be multiplied."""
    down, up, mid = parts["down"], parts["up"], parts.get("mid")
    if down.ndim not in (2, 4) or up.ndim not in (2, 4) or not len(down):
        return False
    if any(side != 1 for side in up.shape[2:]) or up.shape[1] != len(down):
        return False
    if mid is None:
        return True
    return mid.ndim == 4 and mid.shape[:2] == (len(down),) * 2 and down[0].numel() == down.shape[1]
