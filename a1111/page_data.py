"""What the page's scripts know of the form, and the texts that the tab shows as HTML."""

from __future__ import annotations

import json
from html import escape

from ..trainer.config.presets import PRESETS
from . import fields

__all__ = ["describe_preset", "page_data", "problem"]


def page_data() -> str:
    """Return what the page's scripts need to know, as an invisible element.

    names: of the fields, in the order in which the scripts get their contents.
    labels: of the settings.
    presets: for each its description as HTML and the contents of the fields that presets fill in.
    """
    data = {
        "names": [*fields.INPUTS, *fields.ASIDE],
        "labels": {name: fields.label(name) for name in fields.SHOWN},
        "filled": fields.PRESET_FIELDS,
        "presets": {
            name: {"about": describe_preset(name), "values": fields.preset_fields(name)}
            for name in PRESETS
        },
    }
    return f'<div id="dreambooth_data" hidden data-page="{escape(json.dumps(data))}"></div>'


def describe_preset(preset: str) -> str:
    """Return what a preset is for and what it sets, as HTML."""
    given = PRESETS[preset]
    names = [name for name in fields.SHOWN if name in given.values]
    listed = ", ".join(f"{fields.label(name)} {shown(given.values[name])}" for name in names)
    sets = f" It sets {listed}." if listed else ""
    return f"<p>Preset {preset}: {escape(given.help + sets)}</p>"


def shown(value: object) -> str:
    """Return a value as people write it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def problem(error: object) -> str:
    """Return an error as HTML, escaped, with the labels of fields in place of settings' names."""
    return f"<p class='dreambooth-problem'>{escape(fields.labelled(str(error)))}</p>"
