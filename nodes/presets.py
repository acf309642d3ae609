"""A preset on the training node: what it fills in, and the models that it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..trainer.config.concept import InstanceConfig
from ..trainer.config.fields import to_field
from ..trainer.config.presets import PRESETS, preset_values
from ..trainer.errors import ConfigError
from ..trainer.model_files.families import FAMILIES, Family
from .fields import SETTINGS, TRAIN_SETTINGS, check_choice

__all__ = [
    "NO_PRESET", "OPTIONS", "page_values", "preset_differences", "require_family", "with_preset",
]  # fmt: skip

NO_PRESET = "none"
OPTIONS = (NO_PRESET, *PRESETS)


def chosen(preset: str) -> dict[str, Any]:
    check_choice("preset", preset, OPTIONS)
    return {} if preset == NO_PRESET else preset_values(preset)


def with_preset(values: Mapping[str, Any], preset: str, *, shown: bool) -> dict[str, Any]:
    """Return the values, with a preset filling in those left at their defaults.

    Args:
        shown: the fields have shown the preset's values, so that a default was chosen by the user.
    """
    filled = dict(values)
    for name, value in chosen(preset).items():
        default = SETTINGS[name].default
        left = name not in filled or (filled[name] == default and not shown)
        if name in TRAIN_SETTINGS and left:
            filled[name] = value
    return filled


def page_values() -> dict[str, dict[str, Any]]:
    """Return what each preset fills into the fields of the page, by its name."""
    return {
        preset: {
            name: to_field(SETTINGS[name], value) for name, value in preset_values(preset).items()
        }
        for preset in PRESETS
    }


def preset_differences(preset: str, instance: InstanceConfig) -> list[str]:
    """Return a sentence for each photo setting that differs from the preset."""
    wanted = {name: value for name, value in chosen(preset).items() if hasattr(instance, name)}
    return [
        f"The preset suggests {name}={value}; Load Instance Images uses "
        f"{getattr(instance, name)}, which wins."
        for name, value in wanted.items()
        if getattr(instance, name) not in (value, None)
    ]


def require_family(preset: str, family: Family | None) -> None:
    """Refuse a preset for another kind of model.

    Args:
        family: of the model; None if it cannot be trained, which is refused elsewhere.

    Raises:
        ConfigError: names the preset and the model, or there is no such preset.
    """
    check_choice("preset", preset, OPTIONS)
    wanted = None if preset == NO_PRESET else PRESETS[preset].family
    if wanted is not None and family is not None and wanted != family.name:
        raise ConfigError(
            f"The preset {preset} is for {FAMILIES[wanted].title}; the model is {family.title}.",
            "Choose another preset, or load a model of that kind.",
        )
