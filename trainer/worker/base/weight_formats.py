"""How the weights of a frozen layer can be stored: each format's parts, and what they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...config.model import BasePrecision
from ..device.libraries import load_library

__all__ = ["FORMATS", "Format", "require_library"]

BLOCK, SCALES_BLOCK = 64, 256  # numbers that share a scale, and scales that do (QLoRA's choice)
FP8_MAX = 448.0
SMALLEST_SCALE = -14  # as a power of two: float16's smallest normal number
Parts = Mapping[str, Tensor]


class Format(Protocol):
    """How a weight is stored: `parts` are tensors by name, one of them "weight"."""

    def parts(self, weight: Tensor) -> Parts:
        """Return what is kept of a weight, on its device."""
        ...

    def expand(self, parts: Parts, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return the weight that the parts stand for."""
        ...


class Cast:
    """Stored in another floating-point format of 16 bits."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def parts(self, weight: Tensor) -> Parts:
        """Return the rounded weight."""
        return {"weight": weight.to(self.dtype)}

    def expand(self, parts: Parts, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return it in the format of the computation."""
        return parts["weight"].to(dtype)


class Fp8:
    """Stored as float8_e4m3fn, with a power of two for each output channel.

    Without it, half of a usual layer's weights would be below the format's normal numbers. Being
    powers of two, the scales add no rounding.
    """

    def parts(self, weight: Tensor) -> Parts:
        """Return the codes, as bytes, and the scales."""
        rows = weight.flatten(1).float()
        exponents = torch.frexp(rows.abs().amax(1) / FP8_MAX).exponent.clamp_min(SMALLEST_SCALE)
        scales = torch.ldexp(torch.ones_like(rows[:, 0]), exponents)
        codes = (rows / scales[:, None]).to(torch.float8_e4m3fn)
        return {"weight": codes.view(torch.uint8), "scale": scales.to(weight.dtype)}

    def expand(self, parts: Parts, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return each code times its channel's scale."""
        codes = parts["weight"].view(torch.float8_e4m3fn)
        return codes.to(dtype).mul_(parts["scale"].to(dtype)[:, None]).view(shape)


class Int8:
    """Stored as bitsandbytes' int8 (arXiv 2208.07339), with a scale for each output channel."""

    def parts(self, weight: Tensor) -> Parts:
        """Return the codes and the scales."""
        if weight.is_meta:
            codes = torch.empty_like(weight, dtype=torch.int8)
            return {"weight": codes.flatten(1), "scale": weight.new_empty(len(weight))}
        library = load_bitsandbytes("int8")
        codes, largest, _ = library.functional.int8_vectorwise_quant(weight.flatten(1).half())
        return {"weight": codes, "scale": (largest / 127).to(weight.dtype)}

    def expand(self, parts: Parts, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return each code times its channel's scale."""
        return parts["weight"].to(dtype).mul_(parts["scale"].to(dtype)[:, None]).view(shape)


class Nf4:
    """Stored as bitsandbytes' nf4, its scales as 8 bits (QLoRA, arXiv 2305.14314)."""

    def parts(self, weight: Tensor) -> Parts:
        """Return the codes, two a byte, and what their scales are made from."""
        if weight.is_meta:
            return nf4_shapes(weight)
        functions = load_bitsandbytes("nf4").functional
        codes, state = functions.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        return {
            "weight": codes, "scale": state.absmax, "scale_of_scales": state.state2.absmax,
            "offset": state.offset, "table": state.state2.code,
        }  # fmt: skip

    def expand(self, parts: Parts, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return the weight as bitsandbytes restores it."""
        functions = load_bitsandbytes("nf4").functional
        scales = functions.QuantState(
            parts["scale_of_scales"], code=parts["table"], blocksize=SCALES_BLOCK,
            dtype=torch.float32,
        )  # fmt: skip
        state = functions.QuantState(
            parts["scale"], torch.Size(shape), None, BLOCK, "nf4", dtype, parts["offset"], scales
        )
        return functions.dequantize_4bit(parts["weight"], state)


def nf4_shapes(weight: Tensor) -> Parts:
    """Return the parts of a weight that has no contents."""
    codes, scales = math.ceil(weight.numel() / 2), math.ceil(weight.numel() / BLOCK)
    return {
        "weight": weight.new_empty((codes, 1), dtype=torch.uint8),
        "scale": weight.new_empty(scales, dtype=torch.uint8),
        "scale_of_scales": weight.new_empty(math.ceil(scales / SCALES_BLOCK), dtype=torch.float32),
        "offset": weight.new_empty((), dtype=torch.float32),
        "table": weight.new_empty(256, dtype=torch.float32),
    }


# Convolutions have no 4-bit format that is in use; they are 8-bit where linear layers are nf4.
FORMATS: dict[BasePrecision, Mapping[type[nn.Module], Format]] = {
    "bf16": dict.fromkeys((nn.Linear, nn.Conv2d), Cast(torch.bfloat16)),
    "fp16": dict.fromkeys((nn.Linear, nn.Conv2d), Cast(torch.float16)),
    "fp8": dict.fromkeys((nn.Linear, nn.Conv2d), Fp8()),
    "int8": dict.fromkeys((nn.Linear, nn.Conv2d), Int8()),
    "nf4": {nn.Linear: Nf4(), nn.Conv2d: Int8()},
}


def require_library(precision: BasePrecision) -> None:
    """Import what a format needs; its first import must not be within fake or meta tensors.

    Raises:
        ConfigError: it is not installed.
    """
    if precision in ("int8", "nf4"):
        load_bitsandbytes(precision)


def load_bitsandbytes(precision: str) -> Any:
    setting = f"base_precision {precision}"
    return load_library("bitsandbytes", setting=setting, fallback="use base_precision fp8")
