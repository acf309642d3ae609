"""The worker process: one job from standard input, events on standard output.

The first line in is the job, one JSON object: {"command": "train", "run": FOLDER,
"config": {...}, "resume": false}. Later lines are requests: {"command": "stop"}, or "save" or
"sample". The end of input means that the host is gone: save, and stop.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ..config.config import Config
from ..errors import ConfigError
from ..files.atomic import append_lines
from ..files.disk import is_full
from ..files.input_file import parse_json
from ..runs.control import Control, Report, Stop
from ..runs.crash import RESUME
from ..runs.events import Event, Failed, Finished, Stopped, to_line
from ..runs.run import Run
from ..terminal.show import stop_on_signals
from .device.awake import stay_awake
from .device.failures import Halted, is_out_of_memory, page_file_is_full

SMALLER = (
    "Close other programs that use it, or lower the resolution; `python dreambooth.py plan` with "
    "the same settings says how much each would save."
)
PAGE_FILE_HINT = "Let Windows manage the size of the page file, or close other programs."
EXIT_CODES: dict[type[Event], int] = {Finished: 0, Stopped: 3}


def main() -> int:
    """Do the job on standard input; gives the process's exit code."""
    requests = private_input()
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore - a real stream in a process
    events, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no event
    control = Control()
    stop_on_signals(control.stop.set)
    lock = threading.Lock()

    def report(event: Event) -> None:
        with lock:
            try:
                print(to_line(event), file=events, flush=True)
            except OSError:  # the host is gone; the run's own events.jsonl goes on
                control.stop.set()

    job = json.loads(requests.readline())
    threading.Thread(target=listen, args=(requests, control), daemon=True).start()
    run = Run(Path(job["run"]))
    return guarded(run, lambda heard: run_job(job, run, heard, control), report)


def private_input() -> TextIO:
    """Standard input, taken away from everybody else.

    On Windows whoever asks what kind of pipe it is waits for the thread that reads from it:
    `import numpy` would never end (numpy issue 24290), nor would a process started meanwhile.
    """
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests


def listen(requests: TextIO, control: Control) -> None:
    """Set the flags that lines of requests ask for; the end of input is a stop."""
    flags = {"stop": control.stop, "save": control.save, "sample": control.sample}
    for line in requests:
        try:
            flags[parse_json(line)["command"]].set()
        except (ValueError, LookupError, TypeError):  # else a stop would no longer be heard
            print(f"No command: {line[:200]!r}", file=sys.stderr)
    control.stop.set()


def run_job(job: dict[str, Any], run: Run, report: Report, control: Control) -> Event:
    if job["command"] == "train":
        return run_training(job, run, report, control)
    from .drawing import orders as drawing

    jobs = {"class_images": drawing.run_class_images, "compare": drawing.run_compare}
    return jobs[job["command"]](job, run, report, control)


def run_training(job: dict[str, Any], run: Run, report: Report, control: Control) -> Event:
    config = Config.from_dict(job["config"])
    from .training.job import Job
    from .training.loop import train  # heavy: a bad config is refused before it is imported

    return train(Job(config, run, bool(job.get("resume")), report, control))


def guarded(run: Run | None, execute: Callable[[Report], Event], report: Report) -> int:
    """Do a job, turn any exception into one `failed` event, and give the exit code.

    Args:
        run: where events are kept too; None for jobs without a run folder.
    """
    stay_awake()
    new = run is not None and not run.config.exists()
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
    """Whether a new run was refused, or stopped before its config was kept."""
    if isinstance(last, Failed):
        return last.code == "config"
    return isinstance(last, Stopped) and not last.resumable


def failure(error: Exception, run: Run | None) -> Failed:
    """Say what went wrong, and what to do, for any exception."""
    log_path = str(run.log) if run is not None and run.log.exists() else ""
    if isinstance(error, ConfigError):
        return Failed("config", error.message, error.hint, "")
    with suppress(OSError):  # the log may be on the disk that is full
        traceback.print_exception(error)
    if isinstance(error, Halted):
        return Failed(error.code, error.message, error.hint, log_path)
    if is_out_of_memory(error):
        hint = PAGE_FILE_HINT if page_file_is_full(error) else SMALLER
        return Failed("out_of_memory", f"The memory is full: {error}", hint, log_path)
    if is_full(error):
        hint = f"Free space there. {RESUME}"
        return Failed("disk_full", f"The disk is full: {error}.", hint, log_path)
    if isinstance(error, OSError):
        hint = f"See that the disk is there and can be written to. {RESUME}"
        return Failed("disk", f"A file could not be read or written: {error}.", hint, log_path)
    kind = type(error).__name__
    if isinstance(error, FloatingPointError):
        hint = (
            "Start a new run with a lower learning_rate, and with mixed_precision no or bf16 "
            "instead of fp16. The last checkpoint of this one is kept."
        )
        return Failed("not_a_number", str(error), hint, log_path)
    hint = "This is a bug; please report it with the log."
    return Failed("internal", f"{kind}: {error}", hint, log_path)


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
        """Record the last event; who listens has heard it even where no disk takes it."""
        with suppress(OSError):
            self(last)


if __name__ == "__main__":
    sys.exit(main())
