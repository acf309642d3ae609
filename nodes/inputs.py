"""Inputs and wire types of the nodes, made from the trainer's settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

from ..trainer.config.settings import Setting
from .fields import SETTINGS

InstanceSetType = io.Custom("DREAMBOOTH_INSTANCE_SET")
ClassSetType = io.Custom("DREAMBOOTH_CLASS_SET")
LoraType = io.Custom("LORA")


def setting_inputs(names: Iterable[str]) -> list[Any]:
    """One input for each of the named settings; advanced ones may be left out of a graph."""
    return [marked_input(SETTINGS[name]) for name in names]


def marked_input(spec: Setting) -> Any:
    made = setting_input(spec)
    if spec.advanced:
        made.optional = True
        made.extra_dict = {"advanced": True}  # web/advanced.js hides it
    return made


def setting_input(spec: Setting, name: str | None = None) -> Any:
    """The input that shows a setting with its default, bounds and help.

    Args:
        name: the input's, if it is not the setting's.
    """
    name = name or spec.name
    default = None if spec.required else spec.default
    if spec.choices:
        return io.Combo.Input(name, options=list(spec.choices), default=default, tooltip=spec.help)
    if spec.type is bool:
        return io.Boolean.Input(name, default=default, tooltip=spec.help)
    if spec.type in (int, float):
        return number_input(spec, name)
    if spec.type is tuple:
        text = f"{spec.help} One a line."
        return io.String.Input(name, default="", multiline=True, tooltip=text)
    return io.String.Input(name, default=default or "", tooltip=spec.help)


def number_input(spec: Setting, name: str) -> Any:
    """A number; those that may be none are none at 0."""
    tooltip = f"{spec.help} 0 means none." if spec.optional else spec.help
    details: dict[str, Any] = {"default": spec.default or 0, "tooltip": tooltip}
    details["min"] = 0 if spec.optional or spec.minimum is None else spec.minimum
    details["max"] = spec.maximum
    if spec.type is int:
        if name == "seed":
            details["control_after_generate"] = False  # a new seed would train anew
        return io.Int.Input(name, step=spec.multiple_of or 1, **details)
    step = float_step(spec.default)
    return io.Float.Input(name, step=step, round=step / 100, **details)


def float_step(default: float | None) -> float:
    """A hundredth of the default's own magnitude, 0.01 at most."""
    return 10.0 ** min(-2, math.floor(math.log10(default)) - 1) if default else 0.01
