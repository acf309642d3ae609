"""A device's memory: how much is free, the peak, and what to do when it is full."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

import psutil
import torch

from .failures import Halted, is_out_of_memory

__all__ = [
    "GIB",
    "OutOfMemory",
    "free_bytes",
    "free_memory",
    "peak_gib",
    "return_heap",
    "shortage",
]

GIB = 1024**3
MAX_MESSAGE = 300
WINDOWS_RESERVE_BYTES = 1 << 29  # of GPU memory, for the screen and other programs


class OutOfMemory(Halted):
    """The device is out of memory, and nothing is left to reduce."""

    code = "out_of_memory"


def shortage(function: Callable[[], object]) -> str | None:
    """Call a function; return None, or a message if memory ran out, which is then freed again."""
    try:
        function()
        return None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        missing = str(error).strip().partition("\n")[0][:MAX_MESSAGE]
    # Only after the `except` block are the traceback and its frames' tensors gone.
    free_memory()
    return f"Out of memory: {missing or 'an allocation failed'}."


def free_memory() -> None:
    """Free what is no longer referenced."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def return_heap() -> None:
    """Give the system the gaps that freed tensors left in glibc's heap; elsewhere do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def free_bytes(device: torch.device) -> int:
    """Return how much can be allocated: what the system has free, plus torch's own reserve.

    On Windows, a GPU that is filled to the end would spill into the system's memory.
    """
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        kept_free = WINDOWS_RESERVE_BYTES if sys.platform == "win32" else 0
        return torch.cuda.mem_get_info(device)[0] + reserve - kept_free
    return psutil.virtual_memory().available


def peak_gib(device: torch.device) -> float:
    """Return the most memory that this process has held: of the GPU, or else its resident set.

    On an Apple GPU it is what the process holds now.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / GIB
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / GIB
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
