"""Presets: named starting points for a goal, each with the settings that differ from defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .settings import nearest

__all__ = ["PRESETS", "Preset", "preset_values"]


@dataclass(frozen=True)
class Preset:
    """The settings for one goal, with a help text."""

    help: str
    values: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "sd15-lora": Preset("Subject: SD 1.x at 512 px.", {}),
    "sd2-lora": Preset(
        "Subject: SD 2.x at 768 px; for SD 2 base models, set resolution to 512.",
        {"resolution": 768},
    ),
    "sdxl-lora": Preset("Subject: SDXL at 1024 px.", {"resolution": 1024}),
    "low-vram-sd15": Preset(
        "Subject: SD 1.x with little memory.", {"gradient_checkpointing": "on", "rank": 8}
    ),
    "low-vram-sdxl": Preset(
        "Subject: SDXL at 768 px with little memory.",
        {"resolution": 768, "gradient_checkpointing": "on", "rank": 8},
    ),
    "style": Preset(
        "Style: keeps aspect ratios; use more photos and steps.",
        {"crop_mode": "none", "max_train_steps": 1500, "rank": 32},
    ),
    "environment": Preset(
        "Place: keeps aspect ratios and adds mirrored copies.",
        {"crop_mode": "none", "flip": True, "max_train_steps": 1200},
    ),
}


def preset_values(name: str) -> dict[str, Any]:
    """Return the settings of a preset.

    Raises:
        ConfigError: there is no preset of this name.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}.", nearest(name, PRESETS))
    return dict(PRESETS[name].values)
