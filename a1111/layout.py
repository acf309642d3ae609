"""The tab's groups of fields, from the photos to the advanced settings."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import shared
from modules.ui_common import refresh_symbol
from modules.ui_components import ToolButton

from ..trainer.config.presets import PRESETS
from . import fields
from .bases import describe_base
from .form import kept, setting_field, setting_rows
from .page_data import describe_preset
from .places import checkpoints, current_checkpoint
from .prompt_lists import prompt_list

__all__ = ["advanced_groups", "model_group", "photo_group", "settings_group"]


def photo_group() -> dict[str, Any]:
    """Return the fields for photos and cropping, with the preview."""
    with gr.Column(variant="panel", elem_classes=["dreambooth-group"]):
        kept(gr.HTML("<h3>1 · Photos of your subject (3 to 20)</h3>"))
        uploads = kept(
            gr.File(
                file_count="multiple", file_types=fields.FILE_TYPES, height=140,
                label="Drop photos here, with captions in .txt files of the same name",
                elem_id="dreambooth_uploads",
            )
        )  # fmt: skip
        folder = kept(
            gr.Textbox(
                label="Or a folder of photos on this computer", elem_id="dreambooth_folder",
                visible=not shared.cmd_opts.hide_ui_dir_config,
            )
        )  # fmt: skip
        found = setting_rows(fields.PHOTOS)
        look = kept(gr.Button("Preview crops and check photos", elem_id="dreambooth_look"))
        crops = kept(
            gr.Gallery(
                label="Training crops", columns=6, height=200, object_fit="contain",
                visible=False, elem_id="dreambooth_crops",
            )
        )  # fmt: skip
        report = kept(gr.HTML("", elem_id="dreambooth_report"))
    return {
        "uploads": uploads,
        "folder": folder,
        **found,
        "look": look,
        "crops": crops,
        "report": report,
    }


def model_group() -> dict[str, Any]:
    """Return the fields for the base model, preset and prompts."""
    with gr.Column(variant="panel", elem_classes=["dreambooth-group"]):
        kept(gr.HTML("<h3>2 · Model and prompts</h3>"))
        return model_fields() | prompt_fields()


def model_fields() -> dict[str, Any]:
    """Return the fields for the base model and the preset, with their descriptions."""
    with gr.Row():
        base = kept(
            gr.Dropdown(
                list(checkpoints()), value=current_checkpoint(), label="Base checkpoint",
                elem_id="dreambooth_base",
            )
        )  # fmt: skip
        refresh = kept(
            ToolButton(
                refresh_symbol,
                elem_id="dreambooth_base_refresh",
                tooltip="Refresh the list of checkpoints",
            )
        )
        preset = kept(
            gr.Dropdown(
                list(PRESETS),
                value=next(iter(PRESETS)),
                label="Preset",
                elem_id="dreambooth_preset",
            )
        )
    about = kept(gr.HTML(describe_base(current_checkpoint()), elem_id="dreambooth_about"))
    goal = kept(gr.HTML(describe_preset(next(iter(PRESETS))), elem_id="dreambooth_goal"))
    kept(gr.HTML('<p id="dreambooth_differs"></p>'))
    return {"base": base, "refresh": refresh, "preset": preset, "about": about, "goal": goal}


def prompt_fields() -> dict[str, Any]:
    """Return the fields for the prompts, and for the two words that they are written from."""
    with gr.Row():
        word = kept(
            gr.Textbox(
                label="Rare word", placeholder="sks", elem_id="dreambooth_word",
                info="Names your subject: a word that means nothing to the model.",
            )
        )  # fmt: skip
        noun = kept(
            gr.Textbox(
                label="What it is", placeholder="dog", elem_id="dreambooth_noun",
                info="The class of your subject. Both prompts are written from these words.",
            )
        )  # fmt: skip
    found = setting_rows(fields.WORDS)
    suggest = kept(gr.Button("Suggest rare words", elem_id="dreambooth_suggest"))
    return {"word": word, "noun": noun, **found, "suggest": suggest}


def settings_group() -> dict[str, Any]:
    """Return the fields for the main training settings."""
    with gr.Column(variant="panel", elem_classes=["dreambooth-group"]):
        kept(gr.HTML("<h3>3 · Training</h3>"))
        with gr.Row():
            name = kept(
                gr.Textbox("my_subject", label="Name of the result", elem_id="dreambooth_name")
            )
            steps = {"max_train_steps": setting_field("max_train_steps")}
        found = setting_rows(name for name in fields.LEARNING if name not in steps)
        with gr.Row():
            classes = {name: setting_field(name) for name in fields.CLASS_IMAGES}
        make = kept(gr.Button("Generate class images now", elem_id="dreambooth_make"))
    return {"name": name, **steps, **found, **classes, "make": make}


def advanced_groups() -> dict[str, Any]:
    """Return the fields for all other settings, by group."""
    found: dict[str, Any] = {}
    for group, names in fields.ADVANCED.items():
        if names:
            kept(gr.HTML(f"<h4>{fields.TITLES[group]}</h4>"))
            if group == "samples":
                found["prompt_list"] = prompt_list()
            found |= setting_rows(names)
    return found
