"""Where and in what number format a job computes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from ...environment.torch_source import has_nvidia_gpu
from ...errors import ConfigError
from ...runs.events import Warning
from .failures import is_out_of_memory
from .memory import free_bytes

__all__ = [
    "DTYPES",
    "any_process",
    "best_device",
    "choose_precision",
    "device_warnings",
    "make_accelerator",
]

LONGEST_WAIT = timedelta(days=1)  # for the process that generates class images
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def make_accelerator(mixed_precision: str, gradient_accumulation_steps: int = 1) -> Accelerator:
    """Return accelerate's view of the device and the processes.

    Args:
        mixed_precision: as in the config; "auto" is resolved for the device.

    Raises:
        ConfigError: the device does not work, or not in the chosen precision.
    """
    device = best_device()
    if device == "cuda":
        # Before the first call: every process of a launcher would open a context on GPU 0.
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        check_gpu()
        if sys.platform == "win32":
            keep_in_gpu_memory()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=choose_precision(mixed_precision, device),
        gradient_accumulation_steps=gradient_accumulation_steps,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )


def check_gpu() -> None:
    """Compute something: a torch build may not support an old GPU.

    Raises:
        ConfigError: the GPU cannot be used.
    """
    try:
        torch.ones(1, device="cuda").add(1).item()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"Torch {torch.__version__} cannot use the {torch.cuda.get_device_name()}: {reason}.",
            "Update the NVIDIA driver, or delete the pack's .venv folder and run install.py again "
            "to get a torch build that supports this GPU.",
        ) from error


def keep_in_gpu_memory() -> None:
    """Make a full GPU an error, so that the step is retried with less memory.

    The Windows driver would silently fall back to system memory, which is many times slower. What
    the host, the screen and other programs hold now is not ours to fill.
    """
    total = torch.cuda.mem_get_info()[1]
    share = max(0, free_bytes(torch.device("cuda"))) / total
    torch.cuda.set_per_process_memory_fraction(share)


def device_warnings(accelerator: Accelerator) -> Iterator[Warning]:
    """Yield a warning for everything that the device does worse than the user may expect."""
    device = accelerator.device.type
    if device == "cpu" and has_nvidia_gpu():
        yield Warning(
            "gpu_not_used",
            f"An NVIDIA GPU was found, but torch {torch.__version__} can only use the CPU.",
            "Update the NVIDIA driver. `python dreambooth.py doctor` shows what is installed.",
        )
    emulated = device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if emulated and accelerator.mixed_precision == "bf16":
        yield Warning(
            "bf16_emulated",
            "This GPU does not support bf16 natively, so training will be slow.",
            "Set mixed_precision to auto.",
        )


def best_device() -> str:
    """Return "cuda" or "mps" if there is one, else "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(wanted: str, device: str) -> str:
    """Return the precision to use; "auto" is bf16 if native, fp16 on older GPUs, else "no".

    Raises:
        ConfigError: the device does not support the precision asked for.
    """
    if wanted == "auto":
        if device == "cuda":
            if torch.cuda.get_device_capability()[0] >= 8:
                return "bf16"
            return "fp16" if fp16_works() else "no"
        return "bf16" if device == "cpu" and cpu_computes_bf16() else "no"
    if wanted == "fp16" and device == "cpu":
        raise ConfigError(
            "mixed_precision is fp16, which CPUs do not support.", "Use auto, bf16 or no."
        )
    if device == "mps":
        check_mps_precision(wanted)
    return wanted


def check_mps_precision(wanted: str) -> None:
    """Refuse a precision that this torch or macOS does not compute in on an Apple GPU."""
    if wanted == "fp16" and torch.__version__ < "2.8":  # compared as versions
        raise ConfigError(
            f"mixed_precision is fp16, which needs torch 2.8 on an Apple GPU; this is torch "
            f"{torch.__version__}.",
            "Use auto or no.",
        )
    if wanted == "bf16" and not torch.backends.mps.is_macos_or_newer(14, 0):
        raise ConfigError(
            "mixed_precision is bf16, which needs macOS 14 on an Apple GPU.", "Use auto or no."
        )


def fp16_works() -> bool:
    """Return whether fp16 convolutions are finite.

    Some of cuDNN's are faulty on a GTX 16xx; its search for the fastest one may avoid them.
    """
    if convolution_is_finite("cuda"):
        return True
    torch.backends.cudnn.benchmark = True
    return convolution_is_finite("cuda")


def convolution_is_finite(device: str, dtype: torch.dtype = torch.float16) -> bool:
    """Return whether a layer of the U-Net's size produces finite values, forward and backward."""
    layer = torch.nn.Conv2d(640, 640, 3, padding=1, device=device, dtype=dtype)
    pixels = torch.randn(2, 640, 64, 64, device=device, dtype=dtype, requires_grad=True)
    output = layer(pixels)
    output.mean().backward()
    found = (output, pixels.grad, layer.weight.grad)
    return all(bool(values is not None and values.isfinite().all()) for values in found)


def cpu_computes_bf16() -> bool:
    """Return whether the CPU supports bf16 natively; emulated, it is slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def any_process(accelerator: Accelerator, here: bool) -> bool:
    """Return whether a flag is set in this process or, with several, in any other."""
    if accelerator.num_processes == 1:
        return here
    flag = torch.tensor([int(here)], device=accelerator.device)
    found: Any = accelerator.gather(flag)
    return bool(found.any())
