"""The settings of commands that generate images without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .concept import InstanceConfig, PriorConfig
from .model import ModelConfig, check_side
from .optimization import TrainingConfig
from .settings import Setting, check_value, parse_value, settings_of

__all__ = ["drawing_settings", "read_drawing", "require_class_images"]


def drawing_settings() -> list[Setting]:
    """Return the settings besides the model's: the resolution and the precision."""
    specs = (*settings_of(InstanceConfig), *settings_of(TrainingConfig))
    return [spec for spec in specs if spec.name in ("resolution", "mixed_precision")]


def read_drawing(model: ModelConfig, values: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return the resolution, None for the base's own, and the precision by flat values, checked.

    Raises:
        ConfigError: one is invalid, or the base does not work at the resolution.
    """
    found: list[Any] = []
    for spec in drawing_settings():
        found.append(parse_value(spec, values.get(spec.name, spec.default)))
        check_value(spec, found[-1])
    resolution, precision = found
    check_side(model.base, resolution)
    return resolution, precision


def require_class_images(prior: PriorConfig) -> None:
    """Raise ConfigError unless the settings ask for class images."""
    if not prior.class_prompt:
        raise ConfigError("class_prompt is empty.", 'Name the class, as in "a photo of a dog".')
    if not prior.num_class_images:
        raise ConfigError("num_class_images is 0.", "Set how many to generate; 100 is usual.")
