"""Weights in eight bits with scales: which are read, and which formats are refused."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from .header import TensorInfo

__all__ = ["FLOATS", "is_companion", "quantisation", "scale_name"]

FLOATS = frozenset(
    ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
)
SCALE_FLOATS = ("F32", "F16", "BF16")
SCALES = ("scale_weight", "weight_scale")  # of ComfyUI's older and newer files
# Marks of the format, and scales of the layers' inputs, which matter to arithmetic in eight bits.
UNUSED = r"(^|\.)(scale_input|input_scale|comfy_quant|scaled_fp8)$"
# Companions of formats whose weights are packed, or scaled in blocks.
PACKED = (
    r"\.(weight_scale_2|pre_quant_scale|absmax|nested_absmax|quant_map|nested_quant_map"
    r"|quant_state(\..+)?|qweight|qzeros|SCB|weight_format|smooth_factor|wscales)$"
)


def scale_name(weight: str, names: Container[str]) -> str | None:
    """Return the name of the scale that a weight is to be multiplied by; None: it has none."""
    if not weight.endswith(".weight"):
        return None
    layer = weight.removesuffix("weight")
    return next((layer + scale for scale in SCALES if layer + scale in names), None)


def is_companion(name: str, names: Container[str]) -> bool:
    """Return whether a tensor only says how another is stored."""
    layer, _, last = name.rpartition(".")
    if last in SCALES:
        weight = f"{layer}.weight"
        return weight in names and scale_name(weight, names) == name
    return re.search(UNUSED, name) is not None


def quantisation(tensors: Mapping[str, TensorInfo]) -> str | None:
    """Return in which unsupported way weights are quantized; None: in none."""
    for name, tensor in tensors.items():
        if re.search(PACKED, name):
            return f"its weights are quantized, as {name:.200} says"
        scale = scale_name(name, tensors)
        if scale is not None and tensor.dtype not in FLOATS:
            return f"its weights are quantized ({name:.200} is {tensor.dtype})"
        if scale is not None and not is_plain_scale(tensors[scale], tensor):
            return f"its weights are quantized in blocks, as {scale:.200} says"
    return None


def is_plain_scale(scale: TensorInfo, weight: TensorInfo) -> bool:
    """Return whether a scale is one number, or one for each row of the weight."""
    if scale.dtype not in SCALE_FLOATS:
        return False
    return all(side == 1 for side in scale.shape) or (
        scale.shape[:1] == weight.shape[:1] and all(side == 1 for side in scale.shape[1:])
    )
