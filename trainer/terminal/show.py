"""How the terminal shows a job: one live line for progress, plain lines for the rest."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from ..runs.events import (
    Checkpoint,
    Event,
    Failed,
    Finished,
    Progress,
    Sample,
    Started,
    Status,
    Stopped,
    Warning,
    to_line,
)
from ..runs.run import Run

if TYPE_CHECKING:
    from ..runs.control import Control, Report

GIB = 1024**3
STOPPING = "Stopping after this step; press Ctrl-C again to leave at once."


def json_report(stream: TextIO) -> Callable[[Event], None]:
    """Print every event as a line of JSON."""

    def report(event: Event) -> None:
        print(to_line(event), file=stream, flush=True)

    return report


class TerminalReport:
    """Prints events for a person; on a real terminal the progress line is overwritten."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.open_line = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, (Progress, Status)):
            self.progress(describe(event), final=is_final(event))
        elif text := describe(event):
            self.line(text)

    def progress(self, text: str, *, final: bool) -> None:
        """Show a passing state; where lines cannot be overwritten, only final ones."""
        if self.live:
            self.stream.write(f"\r\x1b[2K{text}")
            self.stream.flush()
            self.open_line = True
        elif final:
            self.line(text)

    def line(self, text: str) -> None:
        if self.open_line:
            self.stream.write("\n")
            self.open_line = False
        print(text, file=self.stream, flush=True)


def is_final(event: Progress | Status) -> bool:
    """Whether a passing state is worth a line of its own in a log."""
    if isinstance(event, Status):
        return event.done == event.total
    return event.step == event.max_train_steps or event.step % 10 == 0 or event.step == 1


def describe(event: Event) -> str:
    """Say in one text what happened."""
    if isinstance(event, Progress):
        return describe_progress(event)
    if isinstance(event, Status):
        count = f" {event.done}/{event.total}" if event.total else ""
        return (event.message or event.stage.replace("_", " ").capitalize()) + count
    if isinstance(event, Started):
        return describe_start(event)
    if isinstance(event, Warning):
        return f"Note: {event.message} {event.hint}"
    if isinstance(event, Sample):
        return f"Sample: {event.path}"
    if isinstance(event, Checkpoint):
        return f"Checkpoint: {event.path}"
    return describe_end(event)


def describe_progress(event: Progress) -> str:
    prior = "" if event.prior_loss is None else f" prior {event.prior_loss:.4f}"
    return (
        f"step {event.step}/{event.max_train_steps}  loss {event.instance_loss:.4f}{prior}  "
        f"{describe_rate(event.steps_per_sec)}  ETA {clock(event.eta_sec)}  "
        f"peak {event.peak_memory_gib:.1f} GiB"
    )


def describe_rate(steps_per_sec: float) -> str:
    slow = steps_per_sec < 1
    return f"{1 / steps_per_sec:.2f} s/step" if slow else f"{steps_per_sec:.2f} steps/s"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def describe_start(event: Started) -> str:
    memory = sum(event.memory_plan.values())
    start = f"from step {event.start_step} " if event.start_step else ""
    return (
        f"Training {event.family} on {event.device} in {event.dtype} {start}to step "
        f"{event.max_train_steps}: {event.num_instance_images} instance and "
        f"{event.num_class_images} class images, {event.trainable_parameters / 1e6:.1f} M "
        f"trainable parameters, about {memory / GIB:.1f} GiB. Run folder: {event.run}"
    )


def describe_end(event: Event) -> str:
    if isinstance(event, Finished):
        lora = f" LoRA: {event.result_path}" if event.result_path else ""
        return f"Finished in {clock(event.seconds)}.{lora}"
    if isinstance(event, Stopped):
        lora = f" LoRA so far: {event.result_path}." if event.result_path else ""
        again = " Give the same command with --resume to go on." if event.resumable else ""
        return f"Stopped at step {event.step}.{lora}{again}"
    assert isinstance(event, Failed)
    log = f" Log: {event.log_path}" if event.log_path else ""
    return f"Error: {event.message} {event.hint}{log}"


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let Ctrl-C, termination and a closed terminal ask for a stop, which saves first.

    A second Ctrl-C ends the process at once. Under nohup a closed terminal asks for nothing.
    Windows gives a closed console's processes no time: what came after the last checkpoint is lost.
    """

    def first(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        stop()
        with suppress(OSError):  # the terminal may have been closed
            print(f"\n{STOPPING}", file=sys.stderr)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        number = getattr(signal, name, None)  # SIGBREAK on Windows, SIGHUP elsewhere
        under_nohup = name == "SIGHUP" and number and signal.getsignal(number) == signal.SIG_IGN
        if number is not None and not under_nohup:
            signal.signal(number, first)


def run_job(
    options: argparse.Namespace, run: Run | None, execute: Callable[[Report, Control], Event]
) -> int:
    """Do a job in this process, shown on the terminal and stopped by signals."""
    from ..runs.control import Control
    from ..worker.__main__ import guarded

    control = Control()
    stop_on_signals(control.stop.set)
    if not is_main_process():
        return guarded(None, lambda heard: execute(heard, control), lambda event: None)
    show = json_report(sys.stdout) if options.events else TerminalReport(sys.stdout)

    def report(event: Event) -> None:
        try:
            show(event)
        except OSError:  # the terminal or pipe has gone: say no more, save and stop
            control.stop.set()
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return guarded(run, lambda heard: execute(heard, control), report)


def is_main_process() -> bool:
    """Whether this is the one process, of those that accelerate launched, that reports."""
    return os.environ.get("RANK", "0") == "0"
