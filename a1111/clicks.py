"""What the tab's buttons do with the contents of its fields."""

from __future__ import annotations

import threading
from html import escape
from typing import Any

import gradio as gr

from ..trainer.errors import ConfigError
from . import fields, orders
from .device import WebUI, gpu_gib
from .fit import fit_text
from .jobs import JOBS
from .orders import Form
from .page_data import problem
from .places import places, uploaded_file
from .routes import check_key

__all__ = ["look", "predict_memory", "start_class_images", "start_identifiers", "start_training"]

PLANNING = threading.Lock()  # one prediction at a time: each starts a process
PROGRESS = gr.Progress()  # as a default, gradio passes it in and shows it


def read_form(key: object, values: tuple[Any, ...]) -> Form:
    """Read the inputs, in the order of `fields.INPUTS`.

    Raises:
        ConfigError: another page has sent them, or a file was not uploaded.
    """
    check_key(key)
    given = dict(zip(fields.INPUTS, values, strict=True))
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


def predict_memory(key: object, *values: Any) -> str:
    """Return whether the training would fit; "" while a job runs, which needs the memory itself."""
    if JOBS.running:
        return ""
    try:
        config = orders.train_config(read_form(key, values), places())
        with PLANNING:
            return f"<p>{escape(fit_text(config, gpu_gib()))}</p>"
    except ConfigError as error:
        return problem(error)


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
