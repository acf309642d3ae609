"""Shows a job on the terminal: one live line for progress, plain lines for the rest."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from ..errors import visible, visible_lines
from ..runs.control import Control
from ..runs.events import (
    LAST,
    Checkpoint,
    Event,
    Failed,
    Finished,
    Progress,
    Rating,
    Sample,
    Started,
    Status,
    Warning,
    to_line,
)
from ..runs.run import Run
from ..runs.signals import stop_on_signals
from ..runs.view import View
from ..runs.wording import end_text, rating_text, start_text, warning_text

if TYPE_CHECKING:
    from ..runs.control import Report

__all__ = ["TerminalReport", "is_main_process", "json_report", "run_job", "show", "show_end"]

RESUME = "To resume, run the same command with --resume."
LOG_EVERY = 10  # steps between two lines if none can be overwritten


def show(text: str, stream: TextIO) -> None:
    """Print lines for a person; names and prompts of others may hold codes a terminal obeys."""
    print(visible_lines(text), file=stream, flush=True)


def json_report(stream: TextIO) -> Callable[[Event], None]:
    """Return a report that prints every event as a line of JSON."""

    def report(event: Event) -> None:
        print(to_line(event), file=stream, flush=True)

    return report


class TerminalReport:
    """Prints events for a person; on a real terminal the progress line is overwritten."""

    def __init__(self, stream: TextIO) -> None:
        """Print to a stream."""
        self.stream = stream
        self.live = stream.isatty()
        self.open_line = False
        self.view = View()

    def __call__(self, event: Event) -> None:
        """Print an event."""
        self.view.hear(event)
        if isinstance(event, (Progress, Status)):
            self.progress(self.view.line, final=is_final(event))
        elif text := event_text(event):
            self.line(text)

    def progress(self, text: str, *, final: bool) -> None:
        """Show a temporary state; if lines cannot be overwritten, only final ones."""
        if self.live:
            self.stream.write(f"\r\x1b[2K{visible(text)}")
            self.stream.flush()
            self.open_line = True
        elif final:
            self.line(text)

    def clear(self) -> None:
        """Remove the temporary state, before something else is printed."""
        if self.open_line:
            self.stream.write("\r\x1b[2K")
            self.stream.flush()
            self.open_line = False

    def line(self, text: str) -> None:
        """Show a line that stays."""
        if self.open_line:
            self.stream.write("\n")
            self.open_line = False
        show(text, self.stream)


def is_final(event: Progress | Status) -> bool:
    """Whether a temporary state gets a line of its own in a log."""
    if isinstance(event, Status):
        return event.done == event.total
    return event.step in (1, event.max_train_steps) or event.step % LOG_EVERY == 0


def event_text(event: Event) -> str:
    """Return the line for an event that stays on the terminal."""
    if isinstance(event, Started):
        return f"{start_text(event)} Run folder: {event.run}"
    if isinstance(event, Warning):
        return f"Warning: {warning_text(event)}"
    if isinstance(event, Rating):
        return rating_text(event)
    if isinstance(event, (Sample, Checkpoint)):
        return f"{type(event).__name__}: {event.path}"
    assert isinstance(event, LAST)
    error = "Error: " if isinstance(event, Failed) else ""
    return error + end_text(event, resume=RESUME, full_path=True)


def run_job(
    options: argparse.Namespace, run: Run | None, execute: Callable[[Report, Control], Event]
) -> int:
    """Run a job in this process, shown on the terminal and stopped by signals."""
    from ..worker.edge import guarded

    control = Control()
    stop_on_signals(control.stop.set)
    if not is_main_process():
        return guarded(None, lambda heard: execute(heard, control), lambda event: None)
    shown = json_report(sys.stdout) if options.events else TerminalReport(sys.stdout)

    def report(event: Event) -> None:
        try:
            shown(event)
        except OSError:  # the terminal or pipe is closed: print no more, save and stop
            control.stop.set()
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return guarded(run, lambda heard: execute(heard, control), report)


def show_end(options: argparse.Namespace, last: Finished) -> None:
    """Show how a run ended that need not be run again."""
    if not is_main_process():
        return
    show = json_report(sys.stdout) if options.events else TerminalReport(sys.stdout)
    show(last)


def is_main_process() -> bool:
    """Whether this is the one process that reports, of those that accelerate launched."""
    return os.environ.get("RANK", "0") == "0"
