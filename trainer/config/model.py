"""The settings of the base model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from .settings import setting

__all__ = ["EMBEDDED", "EMBEDDED_SIDE_PX", "ModelConfig", "PredictionType", "check_side"]

PredictionType = Literal["auto", "epsilon", "v_prediction"]
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


def check_side(base: str, resolution: int | None) -> None:
    """Raise ConfigError if the embedded model would be used at a size other than its own."""
    if base == EMBEDDED and resolution not in (None, EMBEDDED_SIDE_PX):
        raise ConfigError(
            f"The embedded model works at {EMBEDDED_SIDE_PX} px, not at {resolution}.",
            f"Set resolution to auto or {EMBEDDED_SIDE_PX}.",
        )
