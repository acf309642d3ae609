"""Signals that ask a job to stop."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress

__all__ = ["stop_on_signals"]

STOPPING = "Stopping after this step. Press Ctrl-C again to quit immediately."


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Make Ctrl-C, termination and a closed terminal request a stop, which saves first.

    A second Ctrl-C ends the process at once. Under nohup, closing the terminal does nothing.
    Windows ends a closed console's processes at once; steps after the last checkpoint are lost.
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
