"""The tab's fields, made from the trainer's settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr

from ..trainer.config.settings import Setting
from .fields import EXAMPLES, SETTINGS, label

PER_ROW = 3


def kept(component: Any) -> Any:
    """Keep the host from storing a component's value and bounds, which it would show for ever."""
    component.do_not_save_to_config = True
    return component


def setting_field(name: str) -> Any:
    """The field that shows a setting with its default and help."""
    spec = SETTINGS[name]
    common: dict[str, Any] = {
        "label": label(name),
        "info": spec.help,
        "elem_id": f"dreambooth_{name}",
    }
    default = None if spec.required else spec.default
    if spec.choices:
        return kept(gr.Dropdown(list(spec.choices), value=default, **common))
    if spec.type is bool:
        return kept(gr.Checkbox(value=default, **common))
    if spec.type in (int, float):
        return kept(number_field(spec, common))
    example = EXAMPLES.get(name)
    if spec.type is tuple:
        example = "One a line"
    lines = 3 if spec.type is tuple else 1
    return kept(gr.Textbox(value=default or "", lines=lines, placeholder=example, **common))


def number_field(spec: Setting, common: dict[str, Any]) -> Any:
    """A number; those that may be none are none at 0."""
    if spec.optional:
        common["info"] += " 0: none."
    precision = 0 if spec.type is int else None
    return gr.Number(value=spec.default or 0, precision=precision, **common)


def setting_rows(names: Iterable[str]) -> dict[str, Any]:
    """Fields in rows; gives each by its setting's name."""
    found: dict[str, Any] = {}
    listed = list(names)
    for start in range(0, len(listed), PER_ROW):
        with gr.Row():
            for name in listed[start : start + PER_ROW]:
                found[name] = setting_field(name)
    return found
