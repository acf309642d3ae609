"""The memory of a device: what is free, how much was held, and what to do when it is full."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import psutil
import torch

from .failures import Halted, is_out_of_memory

GIB = 1024**3
MAX_MESSAGE = 300


class OutOfMemory(Halted):
    """The device's memory is full, and nothing is left that could be done about it."""

    code = "out_of_memory"


def shortage(function: Callable[[], object]) -> str | None:
    """Call it; gives None, or what was missing where memory ran out, which is then free again."""
    try:
        function()
        return None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        missing = str(error).strip().partition("\n")[0][:MAX_MESSAGE]
    # Only here, after the `except` block, the traceback and with it the frames' tensors are gone.
    free_memory()
    return f"The memory is full: {missing or 'no more could be had'}."


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_bytes(device: torch.device) -> int:
    """What could be had: what the system has free, and what torch holds in reserve."""
    if device.type == "cuda":
        reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserve
    return psutil.virtual_memory().available


def peak_gib(device: torch.device) -> float:
    """The most memory that this process has held: the GPU's, or on a CPU its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / GIB
    import resource  # absent on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
