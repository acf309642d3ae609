"""Follows a worker: shows its events as progress, and turns cancel into a saved stop."""

from __future__ import annotations

import time
from pathlib import Path

import comfy.model_management as mm
import comfy.utils

from ..trainer.runs import events, orders
from ..trainer.runs.view import View
from ..trainer.runs.wording import SAVING
from ..trainer.runs.worker import Worker
from . import places
from .page import Page

__all__ = ["STOP_SEC", "follow"]

POLL_SEC = 0.2
STOP_SEC = 600  # time to save when stopping; after that the worker is killed
TEXT_SEC = 0.25  # between updates of the progress text


def follow(
    worker: Worker, page: Page, seen: frozenset[str], view: View | None = None
) -> events.Last:
    """Show a run's events until it ends; on cancel, stop it and wait until it has saved.

    Args:
        seen: warnings that the user has already seen.
        view: hears the events.
    """
    display = Display(page, seen, view or View())
    while not mm.processing_interrupted():
        event = worker.poll_event(POLL_SEC)
        if isinstance(event, events.LAST):
            return event
        if event is None:
            continue
        try:
            display.show(event)
        except mm.InterruptProcessingException:  # canceled since the check above
            break
    return stop(worker, page)


def stop(worker: Worker, page: Page) -> events.Last:
    """Request a stop and wait for the last event; after STOP_SEC, kill the worker."""
    page.text(SAVING)
    worker.send(orders.Stop())
    deadline = time.monotonic() + STOP_SEC
    while time.monotonic() < deadline:
        event = worker.poll_event(POLL_SEC)
        if isinstance(event, events.LAST):
            return event
    worker.kill()
    return next(event for event in worker.events() if isinstance(event, events.LAST))


class Display:
    """Shows a run as the progress of its node."""

    def __init__(self, page: Page, seen: frozenset[str], view: View) -> None:
        self.page, self.seen, self.view = page, seen, view
        self.bar = comfy.utils.ProgressBar(1)
        self.last_text = 0.0

    def show(self, event: events.Event) -> None:
        """Show an event.

        Raises:
            InterruptProcessingException: the user canceled.
        """
        self.view.hear(event)
        if isinstance(event, (events.Progress, events.Status)):
            self.state()
        elif isinstance(event, events.Sample):
            self.page.picture(places.page_image(Path(event.path)))
        elif isinstance(event, events.Warning) and event.message not in self.seen:
            self.page.note("warn", event.message, event.hint)

    def state(self) -> None:
        view, now = self.view, time.monotonic()
        is_status = isinstance(view.current, events.Status)
        if is_status or view.done == view.total or now - self.last_text > TEXT_SEC:
            self.last_text = now
            self.page.text(view.line)
        if view.total:
            self.bar.update_absolute(view.done, view.total)
