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
        help=(
            "The model to teach: a checkpoint (.safetensors) of SD 1.x, 2.x or SDXL, a diffusers "
            "folder, or embedded (the small bundled model for trying out). Choose one close to "
            "the look you want; the LoRA works best with it and its relatives."
        )
    )
    vae: str | None = setting(
        None,
        help=(
            "Another VAE than the checkpoint's own. Needed only if images come out black or gray, "
            "or the checkpoint has none."
        ),
        advanced=True,
    )
    prediction_type: PredictionType = setting(
        "auto",
        help=(
            "How the base was trained. Leave it at auto; set v_prediction only if its author says "
            "so. The wrong one gives noise."
        ),
        advanced=True,
    )
    clip_skip: int | None = setting(
        None,
        none="auto",
        minimum=1,
        maximum=12,
        help=(
            "SD 1.x: 2 for most anime models, 1 for photos; as Clip skip in A1111 (ComfyUI: -1 is "
            "1, -2 is 2). Use the LoRA with the same. auto: 1."
        ),
        advanced=True,
    )
    base_precision: BasePrecision = setting(
        "auto",
        help=(
            "Packs the base into less memory while a LoRA trains. auto: no packing. fp8 and int8 "
            "need about half, nf4 even less; each is slower and rounds the base a little (int8 "
            "and nf4 need bitsandbytes). Choose one only if training does not fit."
        ),
        advanced=True,
    )
    attention: Attention = setting(
        "auto",
        help=(
            "Affects speed, not the result. auto and sdpa: built in. xformers: used where it is "
            "installed, else the built-in one, with a warning."
        ),
        advanced=True,
    )


def check_side(base: str, resolution: int | None) -> None:
    """Raise ConfigError if the embedded model would be used at a size other than its own."""
    if base == EMBEDDED and resolution not in (None, EMBEDDED_SIDE_PX):
        raise ConfigError(
            f"The embedded model works at {EMBEDDED_SIDE_PX} px, not at {resolution}.",
            f"Set resolution to auto or {EMBEDDED_SIDE_PX}.",
        )
