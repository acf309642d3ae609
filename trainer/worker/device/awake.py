"""Keep the computer awake during a job."""

from __future__ import annotations

import sys

__all__ = ["stay_awake"]

CONTINUOUS, SYSTEM_REQUIRED = 0x80000000, 0x00000001


def stay_awake() -> None:
    """Keep Windows from sleeping until this thread ends; the screen may still turn off.

    Source: SetThreadExecutionState of the Win32 API.
    """
    if sys.platform == "win32":
        import ctypes

        ctypes.windll.kernel32.SetThreadExecutionState(CONTINUOUS | SYSTEM_REQUIRED)
