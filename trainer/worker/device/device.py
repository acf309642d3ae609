"""Where and in which number format a job computes."""

from __future__ import annotations

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

WINDOWS_RESERVE_BYTES = 1 << 29  # of a GPU, for the screen and other programs
LONGEST_WAIT = timedelta(days=1)  # for the process that draws class images
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def make_accelerator(mixed_precision: str, gradient_accumulation_steps: int = 1) -> Accelerator:
    """Accelerate's view of the device and processes.

    Args:
        mixed_precision: as in the config; "auto" is resolved for the device.

    Raises:
        ConfigError: the device cannot compute, or not in the chosen precision.
    """
    device = best_device()
    if device == "cuda":
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
    """Compute something: a build of torch may have no code for an old GPU.

    Raises:
        ConfigError: it has none.
    """
    try:
        torch.ones(1, device="cuda").add(1).item()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"Torch {torch.__version__} cannot use the {torch.cuda.get_device_name()}: {reason}.",
            "Update NVIDIA's driver, or delete the pack's .venv folder and run install.py again; "
            "it takes a build of torch that has code for the GPU.",
        ) from error


def keep_in_gpu_memory() -> None:
    """Let a full GPU be an error, after which less is tried.

    Windows' driver would go on in the computer's memory instead, many times slower and unsaid.
    """
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(1 - WINDOWS_RESERVE_BYTES / total)


def device_warnings(accelerator: Accelerator) -> Iterator[Warning]:
    """What the device in use will do worse than the user may expect."""
    device = accelerator.device.type
    if device == "cpu" and has_nvidia_gpu():
        yield Warning(
            "gpu_not_used",
            f"There is an NVIDIA GPU, but torch {torch.__version__} cannot use it, only the CPU.",
            "Update NVIDIA's driver; `python dreambooth.py doctor` says what is installed.",
        )
    emulated = device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if emulated and accelerator.mixed_precision == "bf16":
        yield Warning(
            "bf16_emulated",
            "This GPU does not compute in bf16 by itself; it will be slow.",
            "Use mixed_precision auto.",
        )


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(wanted: str, device: str) -> str:
    """Resolve "auto": bf16 where the device computes in it, fp16 on older GPUs, else float32."""
    if wanted == "auto":
        if device == "cuda":
            if torch.cuda.get_device_capability()[0] >= 8:
                return "bf16"
            return "fp16" if fp16_works() else "no"
        return "bf16" if device == "cpu" and cpu_computes_bf16() else "no"
    if wanted == "fp16" and device == "cpu":
        raise ConfigError("mixed_precision is fp16, but the CPU cannot.", "Use auto, bf16 or no.")
    return wanted


def fp16_works() -> bool:
    """Whether half precision gives numbers: GTX 16xx have faulty convolutions, which cuDNN's
    search for the fastest one may pass by."""
    if fp16_convolution_is_finite():
        return True
    torch.backends.cudnn.benchmark = True
    return fp16_convolution_is_finite()


@torch.no_grad()
def fp16_convolution_is_finite() -> bool:
    """Try a layer of the size that the U-Net has."""
    layer = torch.nn.Conv2d(640, 640, 3, padding=1, device="cuda", dtype=torch.float16)
    pixels = torch.randn(2, 640, 64, 64, device="cuda", dtype=torch.float16)
    return bool(layer(pixels).isfinite().all())


def cpu_computes_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself; emulated it would be slower than float32."""
    if not hasattr(torch.cpu, "get_capabilities"):  # older versions of torch
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def any_process(accelerator: Accelerator, here: bool) -> bool:
    """Whether something is so in this process or, with several, in any other."""
    if accelerator.num_processes == 1:
        return here
    flag = torch.tensor([int(here)], device=accelerator.device)
    found: Any = accelerator.gather(flag)
    return bool(found.any())
