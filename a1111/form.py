"""The tab's fields, generated from the trainer's settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gradio as gr
from modules import shared

from ..trainer.config.fields import field_default, field_help
from .fields import EXAMPLES, PATHS, SETTINGS, label

__all__ = ["kept", "setting_field", "setting_rows"]

PER_ROW = 3


def kept(component: Any) -> Any:
    """Return the component, excluded from the defaults that the host saves in ui-config.json."""
    component.do_not_save_to_config = True
    return component


def setting_field(name: str) -> Any:
    """Return the field for a setting, with its default and help text."""
    spec = SETTINGS[name]
    shown: dict[str, Any] = {
        "value": field_default(spec),
        "label": label(name),
        "info": field_help(spec),
        "elem_id": f"dreambooth_{name}",
        "visible": name not in PATHS or not shared.cmd_opts.hide_ui_dir_config,
    }
    if spec.choices:
        return kept(gr.Dropdown(list(spec.choices), **shown))
    if spec.type is bool:
        return kept(gr.Checkbox(**shown))
    if spec.type in (int, float):
        return kept(gr.Number(precision=0 if spec.type is int else None, **shown))
    lines = 3 if spec.type is tuple else 1
    return kept(gr.Textbox(lines=lines, placeholder=EXAMPLES.get(name), **shown))


def setting_rows(names: Iterable[str]) -> dict[str, Any]:
    """Lay out fields in rows; return them by setting name."""
    found: dict[str, Any] = {}
    listed = list(names)
    for start in range(0, len(listed), PER_ROW):
        with gr.Row():
            for name in listed[start : start + PER_ROW]:
                found[name] = setting_field(name)
    return found
