"""The worker process: one order on standard input, events on standard output.

The first input line is the order; later lines are requests (see runs/orders.py). End of input
means that the host is gone: save and stop.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from pathlib import Path
from typing import TextIO

from ..config.config import Config
from ..runs import orders
from ..runs.control import Control, Report
from ..runs.events import Event, to_line
from ..runs.run import Run
from ..runs.signals import stop_on_signals
from .edge import guarded

__all__ = ["GRACE_SEC", "listen", "main", "private_input"]

GRACE_SEC = 600  # to save once the host is gone, as long as a host waits after Stop


def main() -> int:
    """Carry out the order on standard input; return the exit code."""
    requests = private_input()
    sys.stdout.reconfigure(encoding="utf-8")  # pyright: ignore - a real stream in a process
    events, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not mix with events
    control = Control()
    stop_on_signals(control.stop.set)
    lock = threading.Lock()

    def report(event: Event) -> None:
        with lock:
            try:
                print(to_line(event), file=events, flush=True)
            except OSError:  # events.jsonl continues
                host_is_gone(control)

    order = orders.order_from_line(requests.readline())
    threading.Thread(target=listen, args=(requests, control), daemon=True).start()
    run = Run(Path(order.run))
    return guarded(run, lambda heard: obey(order, run, heard, control), report)


def private_input() -> TextIO:
    """Return standard input as a private stream, and leave an empty one in its place.

    On Windows, code that asks for the type of the pipe blocks while a thread reads from it:
    `import numpy` would hang (numpy issue 24290), and so would starting a process.
    """
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests


def listen(requests: TextIO, control: Control) -> None:
    """Set the flag for each request line; the end of input means stop."""
    flags = {
        orders.Stop: control.stop, orders.Save: control.save, orders.Sample: control.sample,
    }  # fmt: skip
    for line in requests:
        try:
            flags[type(orders.request_from_line(line))].set()
        except ValueError:  # keep listening, or a later stop would be missed
            print(f"Not a request: {line[:200]!r}", file=sys.stderr)
    host_is_gone(control)


def host_is_gone(control: Control) -> None:
    """Ask for a stop, and end the process if it has not saved and stopped by itself in time.

    The timer is a thread outside of Python, which no computation can keep from running. It writes
    to the log what every thread was doing.
    """
    control.stop.set()
    print(f"The host is gone. This process ends in at most {GRACE_SEC} s.", file=sys.stderr)
    faulthandler.dump_traceback_later(GRACE_SEC, exit=True, file=sys.stderr)


def obey(order: orders.Order, run: Run, report: Report, control: Control) -> Event:
    """Carry out an order; return its last event."""
    if isinstance(order, orders.Train):
        return run_training(order, run, report, control)
    from .drawing import orders as drawing

    if isinstance(order, orders.MakeClassImages):
        return drawing.run_class_images(order, run, report, control)
    if isinstance(order, orders.RateWords):
        return drawing.run_rating(order, report, control)
    return drawing.run_compare(order, report, control)


def run_training(order: orders.Train, run: Run, report: Report, control: Control) -> Event:
    config = Config.from_dict(order.config)
    from .training.job import Job  # heavy imports: only after the config was accepted
    from .training.loop import train

    return train(Job(config, run, order.resume, report, control))


if __name__ == "__main__":
    sys.exit(main())
