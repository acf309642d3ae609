"""What to tell of a worker that ended without a word."""

from __future__ import annotations

import signal
from pathlib import Path

from .events import Failed

LOG_LINES, LOG_TAIL_CHARACTERS = 5, 2000
RESUME = "Resume goes on from the run's last checkpoint."
SEE_LOG = f"If the log does not say what to mend, report it as a bug. {RESUME}"
OUT_OF_MEMORY = (
    "Most likely the computer's memory was full: close other programs, or lower resolution, "
    f"train_batch_size or rank. {RESUME}"
)


def crash_event(code: int, log: Path) -> Failed:
    """Explain an exit code, with the last lines of the log."""
    name = exit_name(code)
    message = f"The worker ended without a result ({name}). {log_end(log)}".strip()
    hint = OUT_OF_MEMORY if name == "SIGKILL" else SEE_LOG
    return Failed("crashed", message, hint, str(log))


def exit_name(code: int) -> str:
    """The signal that ended a process, or its exit code; Windows' own codes as they are known."""
    if code < 0 and -code in set(signal.Signals):
        return signal.Signals(-code).name
    return f"exit code {code & 0xFFFFFFFF:#x}" if code > 0xFFFF else f"exit code {code}"


def log_end(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:].splitlines()
    return "\n".join([line for line in lines if line.strip()][-LOG_LINES:])
