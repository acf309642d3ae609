"""The report on a worker that ended without a last event."""

from __future__ import annotations

import signal
from pathlib import Path

from .events import Failed

__all__ = ["RESUME", "SEE_LOG", "crash_event"]

LOG_LINES, LOG_TAIL_CHARACTERS = 5, 2000
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
    lines = log.read_text("utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:].splitlines()
    return "\n".join([line for line in lines if line.strip()][-LOG_LINES:])
