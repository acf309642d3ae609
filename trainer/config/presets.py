"""Named starting points: settings that differ from the defaults, by goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .settings import nearest

__all__ = ["PRESETS", "Preset", "preset_values"]


@dataclass(frozen=True)
class Preset:
    """Settings for one goal, and for whom they are."""

    help: str
    values: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "sd15-lora": Preset("A subject on SD 1.x at 512 px.", {}),
    "sd2-lora": Preset(
        "A subject on SD 2.x at 768 px; for SD 2 base models set the resolution to 512.",
        {"resolution": 768},
    ),
    "sdxl-lora": Preset("A subject on SDXL at 1024 px.", {"resolution": 1024}),
    "low-vram-sd15": Preset(
        "A subject on SD 1.x with little memory.", {"gradient_checkpointing": "on", "rank": 8}
    ),
    "low-vram-sdxl": Preset(
        "A subject on SDXL at 768 px with little memory.",
        {"resolution": 768, "gradient_checkpointing": "on", "rank": 8},
    ),
    "style": Preset(
        "A style: whole pictures at their own shape, more of them, longer.",
        {"crop_mode": "none", "max_train_steps": 1500, "rank": 32},
    ),
    "environment": Preset(
        "A place: whole pictures at their own shape, mirrored too.",
        {"crop_mode": "none", "flip": True, "max_train_steps": 1200},
    ),
}


def preset_values(name: str) -> dict[str, Any]:
    """The settings of a preset.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}.", nearest(name, PRESETS))
    return dict(PRESETS[name].values)
