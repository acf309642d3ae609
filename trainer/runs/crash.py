"""The report on a worker that ended without a last event."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ..files.own import is_own_file, open_own
from .events import Failed

__all__ = ["RESUME", "SEE_LOG", "crash_event"]

LOG_LINES, LOG_TAIL_BYTES = 5, 4000
RESUME = "Resume the run to continue from its last checkpoint."
SEE_LOG = f"If the log does not show the cause, report it as a bug. {RESUME}"
OUT_OF_MEMORY = (
    "Most likely the computer ran out of memory: close other programs, or lower resolution, "
    f"train_batch_size or rank. {RESUME}"
)


def crash_event(code: int, log: Path) -> Failed:
    """Return a failure that says what an exit code means, with the last lines of the log."""
    name = exit_name(code)
    message = f"The worker ended without a result ({name}). {log_end(log)}".strip()
    hint = OUT_OF_MEMORY if name == "SIGKILL" else SEE_LOG
    return Failed("crashed", message, hint, str(log))


def exit_name(code: int) -> str:
    """Return the signal that ended a process, or its exit code; Windows' own codes in hex."""
    if code < 0 and -code in set(signal.Signals):
        return signal.Signals(-code).name
    return f"exit code {code & 0xFFFFFFFF:#x}" if code > 0xFFFF else f"exit code {code}"


def log_end(log: Path) -> str:
    if not is_own_file(log):  # deleted meanwhile
        return ""
    with open_own(log) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-LOG_LINES:])
