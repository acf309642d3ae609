"""Libraries that are optional: imported only where a setting asks for them."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from typing import Any

import torch

from ...errors import ConfigError

__all__ = ["load_library"]

# It would have each user install a package that only speeds up 4-bit inference on CPUs.
CPU_KERNELS = logging.getLogger("bitsandbytes.backends.cpu.ops")


def load_library(name: str, *, setting: str, fallback: str) -> Any:
    """Return an optional library, imported.

    Args:
        setting: that needs it, with its value.
        fallback: which setting works without it.

    Raises:
        ConfigError: it is not installed, or does not work here.
    """
    try:
        show(name)
        CPU_KERNELS.setLevel(logging.ERROR)
        with torch.device("cpu"):  # what it computes at import is needed with contents
            return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"{setting} needs {name}: {error!s:.200}.",
            f"Install it with {sys.executable} -m pip install {name}, or {fallback}.",
        ) from error


def show(name: str) -> None:
    """Undo that the worker hides a library (see `trainer.worker`) once peft cannot see it."""
    if sys.modules.get(name, name) is None:
        import_module("peft")  # looks for it a single time
        del sys.modules[name]
