"""What a LoRA file is: its key layout, its ranks, and the base that it was made for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .header import Header, TensorInfo, read_floats

Family = Literal["sd1", "sd2", "sdxl"]
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
SECOND_ENCODER = r"^(lora_te2_|text_encoder_2\.)"
OTHER_MODELS = {
    "Flux": r"(double_blocks|single_blocks|single_transformer_blocks)[._]\d",
    "SD3": r"joint_blocks[._]\d|^transformer\.transformer_blocks\.",
}
FAMILY_OF_CONTEXT: Mapping[int, Family] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
FAMILY_OF_BASE: Mapping[str, Family] = {"sd_v1": "sd1", "sd_v2": "sd2", "sdxl_": "sdxl"}


@dataclass(frozen=True)
class LoraInfo:
    """How a LoRA is written.

    Args:
        algorithm: LoRA, DoRA, LoHa, LoKr or OFT.
        layout: whose key names it has.
        ranks: every rank that occurs, ascending.
        alphas: every alpha that occurs, ascending; none: alpha equals rank.
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
    """Every alpha that the file holds, from the tensors themselves."""
    scalars = [
        name
        for name, tensor in header.tensors.items()
        if name.endswith(".alpha") and math.prod(tensor.shape) == 1
    ]
    return tuple(sorted({alpha for name in scalars for alpha in read_floats(header, name) or ()}))


def other_lora_model(header: Header) -> str | None:
    """The model's name where a LoRA was made for none of our families."""
    return next((name for name, mark in OTHER_MODELS.items() if has_key(header, mark)), None)


def lora_family(header: Header) -> Family | None:
    """The family that a LoRA was made for; None where nothing tells."""
    contexts = [shape[1] for shape in shapes(header, UNET_CONTEXT) if len(shape) == 2]
    if contexts:
        return FAMILY_OF_CONTEXT.get(contexts[0])
    if has_key(header, SECOND_ENCODER):
        return "sdxl"
    return text_encoder_family(header) or family_from_metadata(header.metadata)


def text_encoder_family(header: Header) -> Family | None:
    """The family of a LoRA for the text encoder alone."""
    widths = [shape[1] for shape in shapes(header, TEXT_WIDTH) if len(shape) == 2]
    return FAMILY_OF_CONTEXT.get(widths[0]) if widths else None


def family_from_metadata(metadata: Mapping[str, str]) -> Family | None:
    base = metadata.get("ss_base_model_version", "")
    for start, family in FAMILY_OF_BASE.items():
        if base.startswith(start):
            return family
    return None


def has_key(header: Header, pattern: str) -> bool:
    return find(header, pattern) is not None


def find(header: Header, pattern: str) -> TensorInfo | None:
    """The first tensor whose name contains the pattern, a regular expression."""
    return next((header.tensors[name] for name in names_with(header, pattern)), None)


def shapes(header: Header, pattern: str) -> list[tuple[int, ...]]:
    """Shapes of all tensors whose names contain the pattern."""
    return [header.tensors[name].shape for name in names_with(header, pattern)]


def names_with(header: Header, pattern: str) -> Iterator[str]:
    return filter(re.compile(pattern).search, header.tensors)  # compiled late: imports stay quick
