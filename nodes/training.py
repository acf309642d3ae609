"""What the training node does when it runs: find or train a result, and show it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import comfy.model_management as mm
from comfy_api.latest import io

from ..trainer.config.config import Config, placed_text
from ..trainer.errors import ConfigError
from ..trainer.model_files.header import read_header
from ..trainer.runs.events import Failed, Last, Stopped
from ..trainer.runs.history import PastRun, past_run, runs_from
from ..trainer.runs.wording import RESULTS, end_text
from ..trainer.runs.worker import Worker
from . import places
from .base import Wires, export
from .follow import STOP_SEC, follow
from .page import Page
from .pictures import read_tensor
from .presets import preset_differences
from .prompts import trigger_prompt
from .sheet import write_sheet
from .task import Task, next_run
from .wires import Base, InstanceSet, TrainedResult

__all__ = [
    "Request", "TrainingFailed", "finished_run", "require_finished", "result", "show_notes",
    "write_base",
]  # fmt: skip

RESUME = "Run again to resume."


class TrainingFailed(Exception):
    """The worker failed; the text says why and what to do."""


def show_notes(page: Page, base: Base, preset: str, photos: InstanceSet) -> None:
    """Show what is trained differently from what the wires or the preset suggest."""
    texts = list(base.notes)
    for subject in photos.subjects:
        texts.append(" ".join(preset_differences(preset, subject.config)))
    for text in filter(None, dict.fromkeys(texts)):
        page.note("warn", "DreamBooth Train", text)


@dataclass(frozen=True)
class Request:
    """The training that a node asks for.

    Args:
        key: the fingerprint of its inputs.
        if_stopped: whether a stopped run with the same inputs is resumed.
    """

    config: Config
    key: str
    photos: InstanceSet
    if_stopped: str


def finished_run(request: Request, base: Base, wires: Wires, page: Page) -> tuple[PastRun, str]:
    """Return the finished run of these inputs, trained if there is none yet, and what was done."""
    past = runs_from(places.runs_folder(), request.key, places.result_folders())
    finished = next((run for run in past if run.finished_result), None)
    if finished is not None:
        finished.run.check()  # its pictures will be shown
        return finished, "Inputs unchanged, reusing the finished"
    write_base(base, wires, page)
    name = Path(request.config.result.output).stem
    run = next_run(places.runs_folder(), name, past, request.if_stopped)
    subjects = request.photos.subjects
    seen = frozenset(
        placed_text(index, len(subjects), note)
        for index, subject in enumerate(subjects)
        for note in subject.notes
    )
    return train(Task(request.config, request.key, run, seen), page), "Saved the"


def write_base(base: Base, wires: Wires, page: Page) -> None:
    """Export a patched base for the worker, and free the GPU."""
    if base.patched:
        page.text("Exporting the patched model …")
        export(base, wires)
    mm.unload_all_models()


def train(task: Task, page: Page) -> PastRun:
    """Train a run in the worker.

    Raises:
        ConfigError: a problem that the user can fix.
        TrainingFailed: any other failure of the worker.
        InterruptProcessingException: the user canceled; the progress is saved.
    """
    task.begin()
    worker = Worker(task.order)
    try:
        last = follow(worker, page, task.seen)
    finally:
        worker.stop(STOP_SEC)  # saves if following failed; otherwise already ended
    require_finished(last, page)
    return past_run(task.run, places.result_folders())


def require_finished(last: Last, page: Page) -> None:
    """Raise the matching exception unless the run finished."""
    text = end_text(last, resume=RESUME)
    if isinstance(last, Stopped):
        page.text(text, over=True)
        raise mm.InterruptProcessingException
    if isinstance(last, Failed) and last.code == "config":
        raise ConfigError(last.message, last.hint)
    if isinstance(last, Failed):
        raise TrainingFailed(text)


def result(done: PastRun, report: str) -> io.NodeOutput:
    """Return the node's outputs and preview."""
    path = done.finished_result
    assert path is not None
    trigger = trigger_prompt(read_header(path).metadata)
    shown = [file for file in (write_sheet(done.run), done.run.loss_plot) if file is not None]
    return io.NodeOutput(
        TrainedResult(path, done.result_kind, trigger, done.family),
        read_tensor(done.run.loss_plot),
        str(done.run.folder),
        trigger,
        ui={
            "images": [places.page_image(file) for file in shown],
            "report": [f"{report} {RESULTS[done.result_kind]}: {path.name}"],
            "page": [places.page_image(done.run.report)],
        },
    )
