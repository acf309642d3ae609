"""Norms that compute in the number format of a half-precision base.

Autocast computes them in float32 on a GPU, though not on a CPU: a fifth more activations, and two
conversions for each of a U-Net's hundred norms. Their kernels add up in float32 in any format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["keep_format_in_norms"]


def keep_format_in_norms(model: nn.Module) -> None:
    """Make all norms with half-precision weights compute in that format, autocast or not."""
    norms: list[Any] = [
        module for module in model.modules() if isinstance(module, (nn.GroupNorm, nn.LayerNorm))
    ]
    for norm in norms:
        if norm.weight.dtype != torch.float32:
            norm.forward = without_autocast(norm)


def without_autocast(norm: Any) -> Callable[[Tensor], Tensor]:
    forward, dtype = norm.forward, norm.weight.dtype

    def compute(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return forward(inputs.to(dtype))

    return compute
