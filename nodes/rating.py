"""What the identifier node does when it runs: rate words in the worker, and show them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import comfy.model_management as mm

from ..trainer.runs.events import Rating, Stopped
from ..trainer.runs.orders import RateWords
from ..trainer.runs.view import View
from ..trainer.runs.worker import Worker
from . import places
from .base import Wires
from .follow import STOP_SEC, follow
from .page import Page
from .training import require_finished, write_base
from .wires import Base

__all__ = ["rate"]

WORK = ".work"  # the log of jobs other than trainings; no run can have this name


def rate(base: Base, wires: Wires, asked: dict[str, Any], page: Page) -> Sequence[Rating]:
    """Return the ratings of words by the model on the wires.

    Args:
        asked: the order's class_noun, words and number.

    Raises:
        ConfigError: a problem that the user can fix.
        InterruptProcessingException: the user canceled.
    """
    write_base(base, wires, page)
    settings = {
        "base": str(base.path),
        "vae": None if base.vae_path is None else str(base.vae_path),
        "prediction_type": base.prediction_type,
        "clip_skip": base.clip_skip,
    }
    folder = places.runs_folder() / WORK
    shutil.rmtree(folder, ignore_errors=True)
    worker, heard = Worker(RateWords(str(folder), settings, **asked)), View()
    try:
        last = follow(worker, page, frozenset(), heard)
    finally:
        worker.stop(STOP_SEC)  # already ended, unless following failed
    if isinstance(last, Stopped):
        raise mm.InterruptProcessingException
    require_finished(last, page)
    return heard.ratings
