"""The tab: photos and settings on the left, training on the right."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import fields
from .bases import connect_bases
from .clicks import look, predict_memory, start_class_images, start_identifiers, start_training
from .form import kept
from .layout import advanced_groups, model_group, photo_group, settings_group
from .page_data import page_data
from .prompt_lists import fill_in_prompts
from .routes import new_key

__all__ = ["make_tab"]

PANEL = '<div id="dreambooth_{}"></div>'
HIDDEN = ("read", "put", "plan")  # buttons that the page's scripts click, for what gradio can do
WITH_KEY = "dreamboothDom.withKey"  # puts the page's key before the inputs


def make_tab() -> list[tuple[Any, str, str]]:
    """Build the tab; return it as the host expects."""
    with gr.Blocks(analytics_enabled=False) as tab:
        new_key()
        found = {"key": kept(gr.Textbox(visible=False))}
        with gr.Row(elem_id="dreambooth_columns"):
            with gr.Column(scale=6):
                found |= photo_group() | model_group() | settings_group()
                with kept(gr.Accordion("Advanced", open=False, elem_id="dreambooth_advanced")):
                    found |= advanced_groups()
                kept(gr.HTML(PANEL.format("file")))
            with gr.Column(scale=5, elem_id="dreambooth_result"):
                found |= result_column()
        connect(found)
        loaded = connect_bases(found, tab)
        loaded.then(None, None, None, _js="dreamboothDom.restore")
    return [(tab, "DreamBooth", "dreambooth")]


def result_column() -> dict[str, Any]:
    """Return the button and the answer of a training, with the page's panels."""
    train = kept(gr.Button("Train", variant="primary", elem_id="dreambooth_train"))
    kept(gr.HTML(PANEL.format("waits")))
    fit = kept(gr.HTML("", elem_id="dreambooth_fit"))
    answer = kept(gr.HTML("", elem_id="dreambooth_answer"))
    for panel in ("live", "runs"):
        kept(gr.HTML(PANEL.format(panel)))
    kept(gr.HTML(page_data()))
    hidden = {name: kept(gr.Button(name, elem_id=f"dreambooth_{name}")) for name in HIDDEN}
    return {"train": train, "fit": fit, "answer": answer, **hidden}


def connect(found: dict[str, Any]) -> None:
    """Connect the buttons, the uploads and the presets."""
    inputs = [found[name] for name in ("key", *fields.INPUTS)]
    shown = [found["crops"], found["report"]]
    found["look"].click(look, inputs, shown, _js=WITH_KEY)
    found["uploads"].change(None, None, shown, _js="dreamboothDom.photosChanged")
    starts = {"train": start_training, "suggest": start_identifiers, "make": start_class_images}
    for name, start in starts.items():
        found[name].click(start, inputs, [found["answer"]], _js=WITH_KEY)
    found["plan"].click(predict_memory, inputs, [found["fit"]], _js=WITH_KEY)
    connect_page(found)


def connect_page(found: dict[str, Any]) -> None:
    """Connect what the page's scripts do by themselves."""
    contents = [found[name] for name in (*fields.INPUTS, *fields.ASIDE)]
    found["read"].click(None, contents, None, _js="dreamboothDom.read")
    found["put"].click(None, contents, contents, _js="dreamboothDom.put")
    filled = [found["goal"], *(found[name] for name in fields.PRESET_FIELDS)]
    lists, own = found["prompt_list"], found["sample_prompts"]
    lists.change(None, [lists, own], [own], _js=fill_in_prompts())
    # In the page: an answer from the host could overwrite what was typed meanwhile.
    found["preset"].change(None, [found["preset"]], filled, _js="dreamboothDom.fillIn")
    prompts = [found[name] for name in fields.WORDS]
    given = [found["word"], found["noun"], found["preset"], *prompts]
    for part in (found["word"], found["noun"]):
        part.input(None, given, prompts, _js="dreamboothDom.prompts")
    found["preset"].change(None, given, prompts, _js="dreamboothDom.prompts")
