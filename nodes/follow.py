"""Following a worker: its events become the page's progress, cancel becomes a saved stop."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import comfy.model_management as mm
import comfy.utils
from PIL import Image

from ..trainer.runs import events
from ..trainer.runs.run import Worker
from .page import Page

POLL_SEC = 0.2
STOP_SEC = 600  # a stop saves first; a worker that takes longer is ended
TEXT_SEC = 0.25  # between two lines of progress text
PREVIEW_PX = 512


def follow(worker: Worker, page: Page, told: frozenset[str]) -> events.Event:
    """Show a run's events until it ends; after cancel, stop it and wait until it has saved.

    Args:
        told: warnings that the user has seen already.
    """
    view = View(page, told)
    while not mm.processing_interrupted():
        event = worker.poll_event(POLL_SEC)
        if isinstance(event, events.LAST):
            return event
        if event is None:
            continue
        try:
            view.show(event)
        except mm.InterruptProcessingException:  # cancelled since the look above
            break
    return stop(worker, page)


def stop(worker: Worker, page: Page) -> events.Event:
    """Ask for a stop, and wait for the last event."""
    page.text("Stopping: saving what is trained so far …")
    worker.send("stop")
    deadline = time.monotonic() + STOP_SEC
    while time.monotonic() < deadline:
        event = worker.poll_event(POLL_SEC)
        if isinstance(event, events.LAST):
            return event
    worker.kill()
    return next(event for event in worker.events() if isinstance(event, events.LAST))


class View:
    """Shows events as progress of the running node."""

    def __init__(self, page: Page, told: frozenset[str]) -> None:
        self.page, self.told = page, told
        self.bar = comfy.utils.ProgressBar(1)
        self.last_text = 0.0

    def show(self, event: events.Event) -> None:
        """Show one event.

        Raises:
            InterruptProcessingException: the user pressed cancel.
        """
        if isinstance(event, events.Progress):
            self.progress(event)
        elif isinstance(event, events.Status):
            self.page.text(status_text(event))
            if event.total:
                self.bar.update_absolute(event.done, event.total)
        elif isinstance(event, events.Sample):
            self.sample(event)
        elif isinstance(event, events.Warning) and event.message not in self.told:
            self.page.note("warn", event.message, event.hint)

    def progress(self, event: events.Progress) -> None:
        now = time.monotonic()
        if now - self.last_text > TEXT_SEC or event.step == event.max_train_steps:
            self.last_text = now
            self.page.text(progress_text(event))
        self.bar.update_absolute(event.step, event.max_train_steps)

    def sample(self, event: events.Sample) -> None:
        with suppress(OSError):  # a picture that is gone is no reason to end the training
            self.preview(Path(event.path))

    def preview(self, path: Path) -> None:
        with Image.open(path) as picture:
            preview = ("JPEG", picture.convert("RGB"), PREVIEW_PX)
        self.bar.update_absolute(self.bar.current, preview=preview)


def status_text(event: events.Status) -> str:
    stage = event.message or event.stage.replace("_", " ").capitalize()
    return f"{stage} {event.done}/{event.total}" if event.total else f"{stage} …"


def progress_text(event: events.Progress) -> str:
    minutes, seconds = divmod(round(event.eta_sec), 60)
    eta = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return (
        f"step {event.step}/{event.max_train_steps} · loss {event.loss:.3f} · "
        f"{event.steps_per_sec:.1f} steps/s · ETA {eta}"
    )
