"""The names by which LoRA files call a model's layers, and the parts of a layer's weights.

kohya's scripts, LyCORIS, peft and diffusers write the same numbers under different names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ...model_files.unet_structure import Level
from ..base.renaming import inverse, new_name
from ..base.unet_layout import unet_pairs
from .lora import UNET_PREFIX, file_name

__all__ = ["LayerWeights", "by_layer", "layer_names"]

LayerWeights = dict[str, dict[str, Tensor]]  # by the layer's name in the file, then by part
PEFT_STARTS = ("", "base_model.model.")
END = r"(\.default)?(\.weight)?$"
PARTS = {
    "down": r"(\.lora_down|\.lora_A|[._]lora\.down|\.lora_linear_layer\.down)" + END,
    "up": r"(\.lora_up|\.lora_B|[._]lora\.up|\.lora_linear_layer\.up)" + END,
    "mid": r"\.lora_mid" + END,
    "alpha": r"\.alpha$",
}


def by_layer(weights: Mapping[str, Tensor]) -> LayerWeights:
    """Sort a file's weights by layer; a part of another kind keeps its name there."""
    layers: LayerWeights = {}
    for key, value in weights.items():
        layer, part = split(key)
        layers.setdefault(layer, {})[part] = value
    return layers


def split(key: str) -> tuple[str, str]:
    for part, pattern in PARTS.items():
        if match := re.search(pattern, key):
            return key[: match.start()], part
    layer, _, part = key.removesuffix(".weight").rpartition(".")
    return layer, part


def layer_names(prefix: str, model: Any) -> dict[str, str]:
    """Return a model's linear and convolutional layers by all names that files call them.

    Args:
        prefix: of its layers in kohya's files.
    """
    names = unet_names if prefix == UNET_PREFIX else text_names
    modules = [n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    originals = original(model)
    return {alias: name for name in modules for alias in names(prefix, name, originals)}


def original(model: Any) -> dict[str, str]:
    """Return the original layout's prefixes of a U-Net's parts by diffusers'."""
    return dict(inverse(unet_pairs(levels_of(model)))) if hasattr(model, "up_blocks") else {}


def unet_names(prefix: str, name: str, originals: Mapping[str, str]) -> Iterator[str]:
    first = new_name(f"{name}.weight", originals).removesuffix(".weight")
    processor = re.sub(r"\.to_out\.0$", ".to_out", name).replace(".to_", ".processor.to_")
    yield from (f"diffusion_model.{first}", f"{prefix}_{first.replace('.', '_')}")
    yield from (file_name(prefix, name), file_name("lycoris", name))
    for start in PEFT_STARTS:
        for part in ("", "unet."):
            yield from (f"{part}{start}{name}", f"{part}{start}{processor}")


def text_names(prefix: str, name: str, _originals: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of a text encoder's layer; the first may have a number or none."""
    folder = "text_encoder_2" if prefix == "lora_te2" else "text_encoder"
    dotted = "text_model." + name.removeprefix("text_model.")
    prefixes = (prefix, "lora_te", "lora_te1") if prefix != "lora_te2" else (prefix,)
    yield from (file_name(one, name) for one in prefixes)
    yield from (f"{folder}.{start}{dotted}" for start in PEFT_STARTS)


def levels_of(unet: Any) -> list[Level]:
    """Return the blocks of a U-Net in diffusers' layout; their widths do not matter here."""
    pairs = zip(unet.down_blocks, reversed(unet.up_blocks), strict=True)
    return [Level(0, depths(down), depths(up)) for down, up in pairs]


def depths(block: Any) -> tuple[int, ...]:
    """Return the transformer depth after each block of a level."""
    attentions = getattr(block, "attentions", None)
    if attentions is None:
        return (0,) * len(block.resnets)
    return tuple(len(attention.transformer_blocks) for attention in attentions)
