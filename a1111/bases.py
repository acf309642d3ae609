"""The choice of the base checkpoint: what is in the list, and what the selected one is."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr
from modules import sd_models, shared

from ..trainer.errors import ConfigError
from ..trainer.model_files.families import FAMILIES
from ..trainer.model_files.identify import predicts_velocity, require_base
from ..trainer.model_files.kinds import ModelFile
from . import fields
from .page_data import problem
from .places import checkpoints, current_checkpoint

__all__ = ["connect_bases", "describe_base"]


def connect_bases(found: dict[str, Any], tab: Any) -> Any:
    """List the checkpoints on page load and on request, and describe the selected one.

    Returns:
        The event at the end of what is done on page load.
    """
    base, chosen = found["base"], [found["base"], found["preset"]]
    described = [found["about"], found["preset"]]
    # A1111's gradio ignores a selection made while it waits for the first answer.
    base.change(choose_base, chosen, described).then(choose_base, chosen, described)
    loaded = tab.load(list_bases, [base], [base]).then(choose_base, chosen, described)
    refreshed = found["refresh"].click(sd_models.list_models).then(list_bases, [base], [base])
    refreshed.then(choose_base, chosen, described)
    return loaded


def list_bases(base: str | None) -> Any:
    """Refresh the list of checkpoints, and keep the selected one if it still exists."""
    names = checkpoints()
    if base in names:
        return gr.update(choices=list(names))
    return gr.update(choices=list(names), value=current_checkpoint())


def choose_base(base: str | None, preset: str) -> tuple[str, Any]:
    """Describe a checkpoint, and switch to the default preset of its family."""
    plain = fields.FAMILY_PRESETS
    try:
        family = require_base(checkpoints()[base or ""], vae_given=True).family
    except (ConfigError, KeyError):
        return describe_base(base), gr.update()
    if family is None or preset not in plain.values() or preset == plain[family]:
        return describe_base(base), gr.update()
    return describe_base(base), gr.update(value=plain[family])


def describe_base(base: str | None) -> str:
    """Return what the selected checkpoint is, or why it cannot be trained."""
    if base not in checkpoints():
        return problem("No checkpoint found. Put one into models/Stable-diffusion and refresh.")
    try:
        found = require_base(checkpoints()[base], vae_given=True)
    except ConfigError as error:
        return problem(error)
    velocity = " with v-prediction" if predicts_velocity(found) else ""
    return f"<p>This is {escape(found.description)}{velocity}.</p>{clip_skip_note(found)}"


def clip_skip_note(base: ModelFile) -> str:
    """Return a note if the host encodes prompts differently from what training does by itself."""
    skip = shared.opts.data.get("CLIP_stop_at_last_layers", 1)
    if skip == 1 or base.family is None or not FAMILIES[base.family].has_clip_skip:
        return ""
    advice = "set Clip skip under Advanced to the same to train with it."
    return f"<p>This host's Clip skip is {skip}; {advice}</p>"
