"""The worker process: one job from standard input, events on standard output.

The first line in is the job, one JSON object: {"command": "train", "run": FOLDER,
"config": {...}, "resume": false}. Later lines are requests: {"command": "stop"}, or "save" or
"sample". The end of input means that the host is gone: save, and stop.
"""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from ..config import Config
from ..errors import ConfigError
from ..events import Event, Failed, Finished, Stopped, to_line
from ..run import Run
from .control import Control, Report, Stop

EXIT_CODES: dict[type[Event], int] = {Finished: 0, Stopped: 3}


def main() -> int:
    """Do the job on standard input; gives the process's exit code."""
    sys.stdin.reconfigure(encoding="utf-8")  # pyright: ignore - a real stream in a process
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore
    events, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no event
    control = Control()
    lock = threading.Lock()

    def report(event: Event) -> None:
        with lock:
            try:
                print(to_line(event), file=events, flush=True)
            except OSError:  # the host is gone; the run's own events.jsonl goes on
                control.stop.set()

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=listen, args=(sys.stdin, control), daemon=True).start()
    run = Run(Path(job["run"]))
    return guarded(run, lambda heard: run_training(job, run, heard, control), report)


def listen(requests: TextIO, control: Control) -> None:
    """Set the flags that lines of requests ask for; the end of input is a stop."""
    flags = {"stop": control.stop, "save": control.save, "sample": control.sample}
    for line in requests:
        flags[json.loads(line)["command"]].set()
    control.stop.set()


def run_training(job: dict[str, Any], run: Run, report: Report, control: Control) -> Event:
    config = Config.from_dict(job["config"])
    from .train import train  # heavy: a bad config is refused before it is imported
    from .training import Job

    return train(Job(config, run, bool(job.get("resume")), report, control))


def guarded(run: Run | None, execute: Callable[[Report], Event], report: Report) -> int:
    """Do a job, turn any exception into one `failed` event, and give the exit code.

    Args:
        run: where events are kept too; None for jobs without a run folder.
    """
    existed = run is not None and run.folder.exists()
    recorder = Recorder(run, report)
    try:
        last = execute(recorder)
    except Stop:
        last = Stopped(0, "", resumable=run is not None)
    except Exception as error:
        last = failure(error, run)
        if last.code == "config" and run is not None and not existed:
            run.remove()
    recorder(last)
    if isinstance(last, Failed):
        return 2 if last.code == "config" else 1
    return EXIT_CODES[type(last)]


def failure(error: Exception, run: Run | None) -> Failed:
    """Say what went wrong, and what to do, for any exception."""
    log_path = str(run.log) if run is not None and run.log.exists() else ""
    if isinstance(error, ConfigError):
        return Failed("config", error.message, error.hint, "")
    traceback.print_exception(error)
    kind = type(error).__name__
    if kind == "OutOfMemoryError":
        hint = (
            "Set gradient_checkpointing to on and go on with this run, or start a new one with "
            "train_batch_size 1 or a lower resolution; close other programs that use the GPU."
        )
        return Failed("out_of_memory", f"The GPU's memory is full: {error}", hint, log_path)
    if kind in ("Diverged", "FloatingPointError"):
        hint = (
            "Start a new run with a lower learning_rate, and with mixed_precision bf16 or no "
            "instead of fp16. The last checkpoint of this one is kept."
        )
        return Failed("not_a_number", str(error), hint, log_path)
    hint = "This is a bug; please report it with the log."
    return Failed("internal", f"{kind}: {error}", hint, log_path)


class Recorder:
    """Passes events on, and appends them to the run's events.jsonl once its folder is there."""

    def __init__(self, run: Run | None, report: Report) -> None:
        self.run = run
        self.report = report
        self.waiting: list[str] = []

    def __call__(self, event: Event) -> None:
        self.report(event)
        if self.run is None:
            return
        self.waiting.append(to_line(event) + "\n")
        if self.run.folder.exists():
            with self.run.events.open("a", encoding="utf-8") as file:
                file.writelines(self.waiting)
            self.waiting.clear()


if __name__ == "__main__":
    sys.exit(main())
