"""The tab: photos and settings on the left, training on the right."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import gradio as gr
from modules import sd_models, shared
from modules.ui_common import refresh_symbol
from modules.ui_components import ToolButton

from ..trainer.config.presets import PRESETS
from ..trainer.errors import ConfigError
from ..trainer.model_files.families import FAMILIES
from ..trainer.model_files.identify import predicts_velocity, require_base
from ..trainer.model_files.kinds import ModelFile
from . import fields, orders
from .device import WebUI
from .form import kept, setting_field, setting_rows
from .jobs import JOBS
from .orders import Form
from .places import checkpoints, current_checkpoint, places, uploaded_file
from .prompt_lists import fill_in_prompts, prompt_list
from .routes import check_key, new_key

__all__ = ["make_tab"]

FIRST = ("uploads", "folder", "base", "name")  # inputs that precede the settings
PROGRESS = gr.Progress()  # as a default, gradio passes it in and shows it
PANEL = '<div id="dreambooth_{}"></div>'
WITH_KEY = "dreamboothDom.withKey"  # puts the page's key before the inputs


def make_tab() -> list[tuple[Any, str, str]]:
    """Build the tab; return it as the host expects."""
    with gr.Blocks(analytics_enabled=False) as tab:
        new_key()
        key = kept(gr.Textbox(visible=False))
        with gr.Row(elem_id="dreambooth_columns"):
            with gr.Column(scale=6):
                found = photo_group() | model_group() | settings_group()
                with kept(gr.Accordion("Advanced", open=False, elem_id="dreambooth_advanced")):
                    found |= advanced_groups()
            with gr.Column(scale=5, elem_id="dreambooth_result"):
                train = kept(gr.Button("Train", variant="primary", elem_id="dreambooth_train"))
                answer = kept(gr.HTML("", elem_id="dreambooth_answer"))
                kept(gr.HTML(PANEL.format("live")))
                kept(gr.HTML(PANEL.format("runs")))
        connect(found | {"key": key}, train, answer)
        connect_bases(found, tab)
    return [(tab, "DreamBooth", "dreambooth")]


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
        found = setting_rows(fields.WORDS)
        suggest = kept(gr.Button("Suggest rare words", elem_id="dreambooth_suggest"))
    return {
        "base": base,
        "refresh": refresh,
        "preset": preset,
        "about": about,
        "goal": goal,
        **found,
        "suggest": suggest,
    }


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


def connect(found: dict[str, Any], train: Any, answer: Any) -> None:
    """Connect the buttons, the uploads and the presets."""
    inputs = [found[name] for name in ("key", *FIRST, *fields.SHOWN)]
    shown = [found["crops"], found["report"]]
    found["look"].click(look, inputs, shown, _js=WITH_KEY)
    found["uploads"].change(None, None, shown, _js="dreamboothDom.photosChanged")
    train.click(start_training, inputs, [answer], _js=WITH_KEY)
    found["suggest"].click(start_identifiers, inputs, [answer], _js=WITH_KEY)
    found["make"].click(start_class_images, inputs, [answer], _js=WITH_KEY)
    filled = [found["goal"], *(found[name] for name in fields.PRESET_FIELDS)]
    lists, own = found["prompt_list"], found["sample_prompts"]
    lists.change(None, [lists, own], [own], _js=fill_in_prompts())
    found["preset"].change(None, [found["preset"]], filled, _js=fill_in())


def connect_bases(found: dict[str, Any], tab: Any) -> None:
    """List the checkpoints on page load and on request, and describe the selected one."""
    base, chosen = found["base"], [found["base"], found["preset"]]
    described = [found["about"], found["preset"]]
    # A1111's gradio ignores a selection made while it waits for the first answer.
    base.change(choose_base, chosen, described).then(choose_base, chosen, described)
    tab.load(list_bases, [base], [base]).then(choose_base, chosen, described)
    refreshed = found["refresh"].click(sd_models.list_models).then(list_bases, [base], [base])
    refreshed.then(choose_base, chosen, described)


def read_form(key: object, values: tuple[Any, ...]) -> Form:
    """Read the inputs, in the order of `connect`.

    Raises:
        ConfigError: another page has sent them, or a file was not uploaded.
    """
    check_key(key)
    given = dict(zip((*FIRST, *fields.SHOWN), values, strict=True))
    uploads = [uploaded_file(file) for file in given["uploads"] or []]
    return Form(
        uploads, given["folder"] or "", given["base"] or "", given["name"] or "",
        {name: given[name] for name in fields.SHOWN},
    )  # fmt: skip


def look(progress: Any = PROGRESS, key: object = None, *values: Any) -> tuple[Any, str]:
    """Return the preview of the training crops, and the report."""

    def on_photo(done: int, total: int) -> None:
        progress((done, total), desc="Reading photos")

    from . import photos  # here, to keep the host's start fast

    try:
        found = photos.look_at(orders.instance_config(read_form(key, values), places()), on_photo)
    except ConfigError as error:
        return gr.update(value=[], visible=False), problem(error)
    return gr.update(value=list(found.crops), visible=True), found.report


def start_training(key: object, *values: Any) -> str:
    """Start a training and return immediately; the page polls for progress."""
    try:
        JOBS.start(lambda: orders.train_job(read_form(key, values), places()), WebUI())
    except ConfigError as error:
        return problem(error)
    return ""


def start_identifiers(key: object, *values: Any) -> str:
    """Start rating words."""
    try:
        JOBS.start(lambda: orders.identifiers_job(read_form(key, values), places()), WebUI())
    except ConfigError as error:
        return problem(error)
    return ""


def start_class_images(key: object, *values: Any) -> str:
    """Start generating class images."""
    try:
        JOBS.start(lambda: orders.class_images_job(read_form(key, values), places()), WebUI())
    except ConfigError as error:
        return problem(error)
    return ""


def fill_in() -> str:
    """Return JavaScript that fills in a preset's description and values.

    It runs in the page: an answer from the host could overwrite what was typed meanwhile.
    """
    filled = {name: [describe_preset(name), *fields.preset_fields(name)] for name in PRESETS}
    return f"(preset) => ({json.dumps(filled)})[preset] ?? []"


def describe_preset(preset: str) -> str:
    return f"<p>Preset {preset}: {escape(PRESETS[preset].help)}</p>"


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


def problem(error: object) -> str:
    """Return an error as HTML, escaped."""
    return f"<p class='dreambooth-problem'>{escape(str(error))}</p>"
