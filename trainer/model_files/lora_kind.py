"""Identifies a LoRA file: its key layout, its ranks and the base that it was made for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .families import FAMILIES, FamilyName, family_of_text_width, family_of_version
from .header import Header, TensorInfo, read_floats

__all__ = ["LoraInfo", "find", "has_key", "lora_family", "lora_info", "other_lora_model"]

Layout = Literal["kohya", "peft", "diffusers", "other"]

ALGORITHMS = {
    "LoHa": r"\.hada_w1_a$",
    "LoKr": r"\.lokr_w[12](_[ab])?$",
    "OFT": r"\.oft_(blocks|diag)$",
    "DoRA": r"\.dora_scale$|\.lora_magnitude_vector",
    "LoRA": r"\.lora_(down|up|A|B)\b|\.lora_linear_layer\.|[._]lora\.(down|up)\.",
}
DOWN = r"(lora_down|lora_A|lora_linear_layer\.down|lora\.down|hada_w1_b)(\.default)?(\.weight)?$"
DOWN_WEIGHT = rf"[._]{DOWN}"
UNET_CONTEXT = rf"attn2[._](processor\.)?to_k[._]{DOWN}"
TEXT_WIDTH = rf"^(lora_te_|text_encoder\.).*q_proj[._].*{DOWN}"
OTHER_MODELS = {
    "Flux": r"(double_blocks|single_blocks|single_transformer_blocks)[._]\d",
    "SD3": r"joint_blocks[._]\d|^transformer\.transformer_blocks\.",
}


@dataclass(frozen=True)
class LoraInfo:
    """How a LoRA file is written.

    Args:
        algorithm: LoRA, DoRA, LoHa, LoKr or OFT.
        layout: whose key names it uses.
        ranks: all ranks that occur, ascending.
        alphas: all alphas that occur, ascending; none: alpha equals rank.
    """

    algorithm: str
    layout: Layout
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]


def lora_info(header: Header) -> LoraInfo | None:
    """Describe a LoRA of any kind; None for other files."""
    algorithm = next((name for name, mark in ALGORITHMS.items() if has_key(header, mark)), None)
    if algorithm is None:
        return None
    ranks = {shape[0] for shape in shapes(header, DOWN_WEIGHT) if shape}
    return LoraInfo(algorithm, lora_layout(header.tensors), tuple(sorted(ranks)), alphas(header))


def lora_layout(names: Iterable[str]) -> Layout:
    names = list(names)
    if any(re.match(r"lora_(unet|te\d?)_", name) for name in names):
        return "kohya"
    if any(".lora_A." in name for name in names):
        return "peft"
    if any(re.search(r"\.lora_linear_layer\.|[._]lora\.(down|up)\.", name) for name in names):
        return "diffusers"
    return "other"


def alphas(header: Header) -> tuple[float, ...]:
    """Return all alphas in the file, read from the tensors themselves."""
    scalars = [
        name
        for name, tensor in header.tensors.items()
        if name.endswith(".alpha") and math.prod(tensor.shape) == 1
    ]
    return tuple(sorted({alpha for name in scalars for alpha in read_floats(header, name) or ()}))


def other_lora_model(header: Header) -> str | None:
    """Return the model's name if a LoRA was made for none of our families."""
    return next((name for name, mark in OTHER_MODELS.items() if has_key(header, mark)), None)


def lora_family(header: Header) -> FamilyName | None:
    """Return the family that a LoRA was made for; None if it cannot be known."""
    contexts = [shape[1] for shape in shapes(header, UNET_CONTEXT) if len(shape) == 2]
    if contexts:
        return family_of_text_width(contexts[0])
    stated = header.metadata.get("ss_base_model_version", "")
    found = second_encoder_family(header) or text_encoder_family(header)
    return found or family_of_version(stated)


def second_encoder_family(header: Header) -> FamilyName | None:
    """Return the family of a LoRA for a text encoder that only that family has."""
    for family in FAMILIES.values():
        for kind in family.text_encoders[1:]:
            if has_key(header, rf"^({kind.lora_prefix}_|{kind.folder}\.)"):
                return family.name
    return None


def text_encoder_family(header: Header) -> FamilyName | None:
    """Return the family of a LoRA for only the text encoder."""
    widths = [shape[1] for shape in shapes(header, TEXT_WIDTH) if len(shape) == 2]
    return family_of_text_width(widths[0]) if widths else None


def has_key(header: Header, pattern: str) -> bool:
    """Whether some tensor's name contains the pattern, a regular expression."""
    return find(header, pattern) is not None


def find(header: Header, pattern: str) -> TensorInfo | None:
    """Return the first tensor whose name contains the pattern, a regular expression."""
    return next((header.tensors[name] for name in names_with(header, pattern)), None)


def shapes(header: Header, pattern: str) -> list[tuple[int, ...]]:
    """Return the shapes of all tensors whose names contain the pattern."""
    return [header.tensors[name].shape for name in names_with(header, pattern)]


def names_with(header: Header, pattern: str) -> Iterator[str]:
    return filter(re.compile(pattern).search, header.tensors)  # compiled late to keep imports fast
