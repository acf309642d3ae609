"""The worker's edge: however a job ends, one last event reports it, with a matching exit code."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import suppress

from ..errors import ConfigError
from ..files.atomic import append_lines
from ..files.disk import is_full
from ..files.own import is_own_file
from ..runs.control import Report, Stop
from ..runs.crash import RESUME
from ..runs.events import Event, Failed, Finished, Stopped, to_line
from ..runs.run import Run
from .device.awake import stay_awake
from .device.failures import Halted, is_out_of_memory, page_file_is_full

__all__ = ["Recorder", "failure", "guarded"]

SMALLER = (
    "Close other programs that use memory, or lower the resolution. To see how much each setting "
    "would save, run `python dreambooth.py plan` with the same settings."
)
PAGE_FILE_HINT = "Let Windows manage the page file size, or close other programs."
NO_PICTURE = (  # the weights of base and LoRA were checked when they were loaded
    "Use mixed_precision bf16 or no instead of fp16, or a lower guidance scale. With a LoRA, lower "
    "its strength."
)
BUG = "This is a bug. Please report it with the log."
EXIT_CODES: dict[type[Event], int] = {Finished: 0, Stopped: 3}


def guarded(run: Run | None, execute: Callable[[Report], Event], report: Report) -> int:
    """Run a job, turn any exception into one `failed` event, and return the exit code.

    Args:
        run: also records the events; None for jobs without a run folder.
    """
    stay_awake()
    new = run is not None and not os.path.lexists(run.config)
    recorder = Recorder(run, report)
    try:
        last = execute(recorder)
    except Stop:
        last = Stopped(0, "", "", resumable=run is not None and run.config.exists())
    except Exception as error:
        last = failure(error, run)
    recorder.finish(last)
    if run is not None:
        if new and never_began(last):
            run.discard()
        run.lock.release()
    if isinstance(last, Failed):
        return 2 if last.code == "config" else 1
    return EXIT_CODES[type(last)]


def never_began(last: Event) -> bool:
    """Return whether a new run was refused, or stopped before its config was saved."""
    if isinstance(last, Failed):
        return last.code == "config"
    return isinstance(last, Stopped) and not last.resumable


def failure(error: Exception, run: Run | None) -> Failed:
    """Return the `failed` event for any exception: what went wrong and what to do."""
    log_path = str(run.log) if run is not None and is_own_file(run.log) else ""
    if isinstance(error, ConfigError):
        return Failed("config", error.message, error.hint, "")
    if isinstance(error, FloatingPointError):  # in sampling; training raises Diverged
        return Failed("not_a_number", str(error), NO_PICTURE, log_path)
    with suppress(OSError):  # the log may be on the full disk
        traceback.print_exception(error)
    if isinstance(error, Halted):
        return Failed(error.code, error.message, error.hint, log_path)
    if is_out_of_memory(error):
        hint = PAGE_FILE_HINT if page_file_is_full(error) else SMALLER
        return Failed("out_of_memory", f"Out of memory: {error}", hint, log_path)
    if is_full(error):
        hint = f"Free space there. {RESUME}"
        return Failed("disk_full", f"The disk is full: {error}.", hint, log_path)
    if isinstance(error, OSError):
        hint = f"Check that the disk is connected and writable. {RESUME}"
        return Failed("disk", f"A file could not be read or written: {error}.", hint, log_path)
    return Failed("internal", f"{type(error).__name__}: {error}", BUG, log_path)


class Recorder:
    """Passes events on, and appends them to the run's events.jsonl once the run is claimed."""

    def __init__(self, run: Run | None, report: Report) -> None:
        self.run = run
        self.report = report
        self.waiting: list[str] = []

    def __call__(self, event: Event) -> None:
        self.report(event)
        if self.run is None:
            return
        self.waiting.append(to_line(event) + "\n")
        if self.run.lock.held and self.run.folder.exists():
            append_lines(self.run.events, "".join(self.waiting))
            self.waiting.clear()

    def finish(self, last: Event) -> None:
        """Report the last event, and record it unless the disk is full."""
        with suppress(OSError):
            self(last)
