"""Which library computes a U-Net's attention."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0, XFormersAttnProcessor

from ...config.model import Attention
from ...runs.events import Warning

__all__ = ["choose_attention"]


def choose_attention(
    unet: Any, wanted: Attention, device: torch.device, dtype: torch.dtype
) -> Warning | None:
    """Set a U-Net's attention; returns why torch computes it although xformers was asked for."""
    fault = xformers_fault(device, dtype) if wanted == "xformers" else ""
    by_xformers = wanted == "xformers" and not fault
    unet.set_attn_processor(XFormersAttnProcessor() if by_xformers else AttnProcessor2_0())
    if not fault:
        return None
    return Warning(
        "attention",
        f"xformers cannot be used: {fault}. Attention is computed by torch instead.",
        f"Set attention to auto, or install a build for torch {torch.__version__}: "
        f"{sys.executable} -m pip install xformers --no-deps",
    )


def xformers_fault(device: torch.device, dtype: torch.dtype) -> str:
    """Return why xformers cannot compute attention and its gradient here; "" if it can."""
    if device.type != "cuda":
        return f"it needs a GPU with CUDA, and this training runs on {device.type}"
    query = torch.ones(1, 64, 8, 40, device=device, dtype=dtype, requires_grad=True)
    try:  # a faulty build fails in many ways, at import or in its kernels
        attention = import_module("xformers.ops").memory_efficient_attention
        attention(query, query, query).sum().backward()
    except (ImportError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
        return f"{error!s:.200}".partition("\n")[0]
    return ""
