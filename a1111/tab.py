"""The tab: photos and settings at the left, the training at the right."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from modules import sd_models, shared
from modules.ui_common import refresh_symbol
from modules.ui_components import ToolButton

from ..trainer.config.presets import PRESETS
from ..trainer.errors import ConfigError
from ..trainer.model_files.identify import predicts_velocity, require_base
from ..trainer.model_files.kinds import ModelFile
from . import fields, orders, photos
from .device import WebUI
from .form import kept, setting_field, setting_rows
from .jobs import JOBS
from .orders import Form
from .places import checkpoints, places, present_checkpoint
from .routes import new_key

FIRST = ("uploads", "folder", "base", "name")  # before the settings among the inputs
PANEL = '<div id="dreambooth_{}" data-key="{}"></div>'


def make_tab() -> list[tuple[Any, str, str]]:
    """What the host asks for its tabs."""
    with gr.Blocks(analytics_enabled=False) as tab:
        key = new_key()
        with gr.Row(elem_id="dreambooth_columns"):
            with gr.Column(scale=6):
                found = photo_group() | model_group() | settings_group()
                with kept(gr.Accordion("Advanced", open=False, elem_id="dreambooth_advanced")):
                    found |= advanced_groups()
            with gr.Column(scale=5, elem_id="dreambooth_result"):
                train = kept(gr.Button("Train", variant="primary", elem_id="dreambooth_train"))
                answer = kept(gr.HTML("", elem_id="dreambooth_answer"))
                kept(gr.HTML(PANEL.format("live", escape(key))))
                kept(gr.HTML(PANEL.format("runs", "")))
        connect(found, train, answer)
        connect_bases(found, tab)
    return [(tab, "DreamBooth", "dreambooth")]


def photo_group() -> dict[str, Any]:
    """The photos, how they are cropped, and what they look like then."""
    with gr.Column(variant="panel", elem_classes=["dreambooth-group"]):
        kept(gr.HTML("<h3>1 · Photos of your subject, 3 to 20</h3>"))
        uploads = kept(
            gr.File(
                file_count="multiple", file_types=["image", ".heic", ".heif", ".txt"], height=140,
                label="Drop photos here; a .txt of the same name is a photo's caption",
                elem_id="dreambooth_uploads",
            )
        )  # fmt: skip
        folder = kept(
            gr.Textbox(
                label="or a folder of photos on this computer", elem_id="dreambooth_folder",
                visible=not shared.cmd_opts.hide_ui_dir_config,
            )
        )  # fmt: skip
        found = setting_rows(fields.PHOTOS)
        look = kept(gr.Button("Show the crops and check the photos", elem_id="dreambooth_look"))
        crops = kept(
            gr.Gallery(
                label="As they will be trained", columns=6, height=200, object_fit="contain",
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
    """The base, the preset and the prompts."""
    with gr.Column(variant="panel", elem_classes=["dreambooth-group"]):
        kept(gr.HTML("<h3>2 · Model and words</h3>"))
        with gr.Row():
            base = kept(
                gr.Dropdown(
                    list(checkpoints()), value=present_checkpoint(), label="Base checkpoint",
                    elem_id="dreambooth_base",
                )
            )  # fmt: skip
            refresh = kept(
                ToolButton(
                    refresh_symbol,
                    elem_id="dreambooth_base_refresh",
                    tooltip="Look for checkpoints again",
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
        about = kept(gr.HTML(describe_base(present_checkpoint()), elem_id="dreambooth_about"))
        goal = kept(gr.HTML(describe_preset(next(iter(PRESETS))), elem_id="dreambooth_goal"))
        found = setting_rows(fields.WORDS)
    return {
        "base": base,
        "refresh": refresh,
        "preset": preset,
        "about": about,
        "goal": goal,
        **found,
    }


def settings_group() -> dict[str, Any]:
    """The handful of settings that matter."""
    with gr.Column(variant="panel", elem_classes=["dreambooth-group"]):
        kept(gr.HTML("<h3>3 · Training</h3>"))
        with gr.Row():
            name = kept(
                gr.Textbox("my_subject", label="Name of the LoRA", elem_id="dreambooth_name")
            )
            steps = {"max_train_steps": setting_field("max_train_steps")}
        found = setting_rows(name for name in fields.LEARNING if name not in steps)
        with gr.Row():
            classes = {name: setting_field(name) for name in fields.CLASS_IMAGES}
        make = kept(gr.Button("Make the class images now", elem_id="dreambooth_make"))
    return {"name": name, **steps, **found, **classes, "make": make}


def advanced_groups() -> dict[str, Any]:
    """All the other settings, by group."""
    found: dict[str, Any] = {}
    for group, names in fields.ADVANCED.items():
        if names:
            kept(gr.HTML(f"<h4>{fields.TITLES[group]}</h4>"))
            found |= setting_rows(names)
    return found


def connect(found: dict[str, Any], train: Any, answer: Any) -> None:
    """Let the buttons do what they say."""
    inputs = [found[name] for name in (*FIRST, *fields.SHOWN)]
    shown = [found["crops"], found["report"]]
    found["look"].click(look, inputs, shown)
    found["uploads"].change(None, None, shown, _js="dreamboothDom.photosChanged")
    train.click(start_training, inputs, [answer])
    found["make"].click(start_class_images, inputs, [answer])
    filled = [found["goal"], *(found[name] for name in fields.PRESET_FIELDS)]
    found["preset"].change(None, [found["preset"]], filled, _js=fill_in())


def connect_bases(found: dict[str, Any], tab: Any) -> None:
    """List the checkpoints at the page's start and on request; tell what the chosen one is."""
    base, chosen = found["base"], [found["base"], found["preset"]]
    told = [found["about"], found["preset"]]
    # A1111's gradio drops what is chosen while it waits for the first answer.
    base.change(choose_base, chosen, told).then(choose_base, chosen, told)
    tab.load(list_bases, [base], [base]).then(choose_base, chosen, told)
    refreshed = found["refresh"].click(sd_models.list_models).then(list_bases, [base], [base])
    refreshed.then(choose_base, chosen, told)


def read_form(values: tuple[Any, ...]) -> Form:
    """The inputs' values in the order of `connect`."""
    given = dict(zip((*FIRST, *fields.SHOWN), values, strict=True))
    uploads = [Path(getattr(file, "name", file)) for file in given["uploads"] or []]
    return Form(
        uploads, given["folder"] or "", given["base"] or "", given["name"] or "",
        {name: given[name] for name in fields.SHOWN},
    )  # fmt: skip


def look(*values: Any) -> tuple[Any, str]:
    """Show the photos as they will be trained."""
    try:
        found = photos.look_at(orders.instance_config(read_form(values), places()))
    except ConfigError as error:
        return gr.update(value=[], visible=False), problem(error)
    return gr.update(value=list(found.crops), visible=True), found.report


def start_training(*values: Any) -> str:
    """Begin, and return at once: the page asks for progress by itself."""
    try:
        JOBS.start(lambda: orders.train_job(read_form(values), places()), WebUI())
    except ConfigError as error:
        return problem(error)
    return ""


def start_class_images(*values: Any) -> str:
    """Begin to make class images."""
    try:
        JOBS.start(lambda: orders.class_images_job(read_form(values), places()), WebUI())
    except ConfigError as error:
        return problem(error)
    return ""


def fill_in() -> str:
    """JavaScript that says whom a preset is for, and gives its values for the fields.

    The page does it alone: an answer of the host comes late, after what was typed meanwhile.
    """
    filled = {name: [describe_preset(name), *fields.preset_fields(name)] for name in PRESETS}
    return f"(preset) => ({json.dumps(filled)})[preset] ?? []"


def describe_preset(preset: str) -> str:
    return f"<p>Preset {preset}: {escape(PRESETS[preset].help)}</p>"


def list_bases(base: str | None) -> Any:
    """The host's checkpoints as they are now; the chosen one stays where it is still there."""
    names = checkpoints()
    if base in names:
        return gr.update(choices=list(names))
    return gr.update(choices=list(names), value=present_checkpoint())


def choose_base(base: str | None, preset: str) -> tuple[str, Any]:
    """Say what a checkpoint is, and take the plain preset of its family."""
    plain = fields.FAMILY_PRESETS
    try:
        family = require_base(checkpoints()[base or ""], vae_given=True).family
    except (ConfigError, KeyError):
        return describe_base(base), gr.update()
    if family is None or preset not in plain.values() or preset == plain[family]:
        return describe_base(base), gr.update()
    return describe_base(base), gr.update(value=plain[family])


def describe_base(base: str | None) -> str:
    """What the chosen checkpoint is, or why it cannot be trained."""
    if base not in checkpoints():
        return problem(
            "The host has no checkpoint: put one into models/Stable-diffusion, then refresh."
        )
    try:
        found = require_base(checkpoints()[base], vae_given=True)
    except ConfigError as error:
        return problem(error)
    velocity = " that predicts velocity" if predicts_velocity(found) else ""
    return f"<p>This is {escape(found.description)}{velocity}.</p>{clip_skip_note(found)}"


def clip_skip_note(base: ModelFile) -> str:
    """A note where the host reads prompts otherwise than the training will."""
    skip = shared.opts.data.get("CLIP_stop_at_last_layers", 1)
    if skip == 1 or base.family == "sdxl":
        return ""
    return f"<p>The host's Clip skip of {skip} is not used in training.</p>"


def problem(error: object) -> str:
    """What the user can mend, as HTML; names in it are text."""
    return f"<p class='dreambooth-problem'>{escape(str(error))}</p>"
