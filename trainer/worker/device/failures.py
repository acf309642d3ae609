"""Why a training cannot continue, other than a bad config; does not import torch."""

from __future__ import annotations

import errno
import re
import sys

__all__ = ["BUT_FP16", "Diverged", "Halted", "is_out_of_memory", "page_file_is_full"]

FULL = (
    *("not enough memory", "out of memory", "DefaultCPUAllocator", "bad_alloc"),
    *("could not create a primitive", "could not create a memory"),  # oneDNN on a CPU
    *("ALLOC_FAILED", "ALLOCATION_FAILED"),  # cuBLAS, cuDNN
    "Invalid buffer size",  # an Apple GPU
)
# What cuBLAS and cuDNN report when their workspace does not fit, but also for other reasons.
PERHAPS_FULL = (
    *("STATUS_NOT_INITIALIZED", "STATUS_INTERNAL_ERROR", "CUDNN_STATUS_EXECUTION_FAILED"),
    *("unable to find an engine", "Unable to find a valid cuDNN algorithm"),
)
NEARLY_FULL_BYTES = 1 << 30
PAGE_FILE = re.compile(r"WinError 1455|os error 1455|<1455>")  # as Python, Rust and torch write it

BUT_FP16 = "mixed_precision no, or bf16 on an RTX 30 or newer"


class Halted(Exception):
    """The training had to stop; the state of the last finished step is kept.

    Args:
        message: what was found.
        hint: what to do.
    """

    code = "internal"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message} {hint}")
        self.message = message
        self.hint = hint


class Diverged(Halted):
    """The loss or the gradients became NaN or infinite."""

    code = "not_a_number"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an allocation failed; torch reports that by several types and texts."""
    if page_file_is_full(error):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):  # torch.OutOfMemoryError is one
        message = str(error)
        if any(text in message for text in FULL):
            return True
        return any(text in message for text in PERHAPS_FULL) and gpu_is_nearly_full()
    return isinstance(error, MemoryError)


def gpu_is_nearly_full() -> bool:
    """Return whether the GPU in use has less free than the workspace of a large convolution."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return False
    return torch.cuda.mem_get_info()[0] < NEARLY_FULL_BYTES


def page_file_is_full(error: BaseException) -> bool:
    """Return whether Windows cannot commit more memory; each library words that differently."""
    return PAGE_FILE.search(str(error)) is not None
