"""The settings of the base model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from .settings import setting

__all__ = [
    "EMBEDDED",
    "EMBEDDED_SIDE_PX",
    "Attention",
    "BasePrecision",
    "ModelConfig",
    "PredictionType",
    "check_side",
]

PredictionType = Literal["auto", "epsilon", "v_prediction"]
BasePrecision = Literal["auto", "bf16", "fp16", "fp8", "int8", "nf4"]
Attention = Literal["auto", "sdpa", "xformers"]
EMBEDDED = "embedded"  # as `base`: the small model that comes with the trainer
EMBEDDED_SIDE_PX = 128


@dataclass(frozen=True)
class ModelConfig:
    """The frozen base model, and the VAE to use with it."""

    base: str = setting(
        help="Base checkpoint: a .safetensors file of SD 1.x, 2.x or SDXL, a diffusers folder, or "
        "embedded (the small 128 px model that comes with the trainer)."
    )
    vae: str | None = setting(
        None, help="VAE file to use instead of the checkpoint's VAE.", advanced=True
    )
    prediction_type: PredictionType = setting(
        "auto", help="What the base predicts; auto reads it from the checkpoint.", advanced=True
    )
    clip_skip: int | None = setting(
        None,
        none="auto",
        minimum=1,
        maximum=12,
        help="SD 1.x: the text encoder's layer that prompts come from, as in A1111: 1 is the "
        "last (ComfyUI's -1), 2 the one before it. auto: the last.",
        advanced=True,
    )
    base_precision: BasePrecision = setting(
        "auto",
        help="How the frozen U-Net's weights are kept in memory while a LoRA trains. auto: in the "
        "format of the computation. fp8, int8 and nf4 (the last two need bitsandbytes) need half "
        "of that or less, round the base and take longer per step.",
        advanced=True,
    )
    attention: Attention = setting(
        "auto",
        help="How attention is computed. auto and sdpa: by torch. xformers: by that library "
        "where it works, else by torch, with a warning.",
        advanced=True,
    )


def check_side(base: str, resolution: int | None) -> None:
    """Raise ConfigError if the embedded model would be used at a size other than its own."""
    if base == EMBEDDED and resolution not in (None, EMBEDDED_SIDE_PX):
        raise ConfigError(
            f"The embedded model works at {EMBEDDED_SIDE_PX} px, not at {resolution}.",
            f"Set resolution to auto or {EMBEDDED_SIDE_PX}.",
        )
