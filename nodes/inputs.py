"""The nodes' wire types, and inputs generated from the trainer's settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

from ..trainer.config.fields import field_default, field_help, field_minimum
from ..trainer.config.settings import Setting
from .fields import SETTINGS

__all__ = [
    "ClassSetType",
    "InstanceSetType",
    "PhotosType",
    "ResultType",
    "advanced_inputs",
    "setting_input",
    "setting_inputs",
]

InstanceSetType = io.Custom("DREAMBOOTH_INSTANCE_SET")
ClassSetType = io.Custom("DREAMBOOTH_CLASS_SET")
PhotosType = io.Custom("DREAMBOOTH_PHOTOS")  # web/photos.js has the widget
ResultType = io.Custom("DREAMBOOTH_RESULT")
RATE_STEP = 1e-6  # the page shows as many digits as a step has; 5e-6 is a usual rate


def setting_inputs(names: Iterable[str]) -> list[Any]:
    """Return one input per setting."""
    return [setting_input(SETTINGS[name]) for name in names]


def advanced_inputs(names: Iterable[str]) -> list[Any]:
    """Return inputs that are hidden by default and that a graph may omit."""
    inputs = setting_inputs(names)
    for made in inputs:
        made.optional = True
        made.extra_dict = {"advanced": True}  # ComfyUI 0.3.64 has no parameter for this
    return inputs


def setting_input(spec: Setting, name: str | None = None) -> Any:
    """Return the input for a setting, with its default, bounds and help text.

    Args:
        name: the input's name, if it differs from the setting's.
    """
    name = name or spec.name
    shown: dict[str, Any] = {"default": field_default(spec), "tooltip": field_help(spec)}
    if spec.choices:
        return io.Combo.Input(name, options=list(spec.choices), **shown)
    if spec.type is bool:
        return io.Boolean.Input(name, **shown)
    if spec.type in (int, float):
        return number_input(spec, name, shown)
    return io.String.Input(name, multiline=spec.type is tuple, **shown)


def number_input(spec: Setting, name: str, shown: dict[str, Any]) -> Any:
    shown = {**shown, "min": field_minimum(spec), "max": spec.maximum}
    if spec.type is int:
        if name == "seed":
            shown["control_after_generate"] = False  # a new seed would train again
        return io.Int.Input(name, step=spec.multiple_of or 1, **shown)
    step = RATE_STEP if spec.name.endswith("learning_rate") else float_step(spec.default)
    return io.Float.Input(name, step=step, round=step / 100, **shown)


def float_step(default: float | None) -> float:
    """Return a hundredth of the default's magnitude, but at most 0.01."""
    return 10.0 ** min(-2, math.floor(math.log10(default)) - 1) if default else 0.01
