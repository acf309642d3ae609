"""Where and in which number format a job computes."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator

from ..errors import ConfigError

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def make_accelerator(mixed_precision: str, gradient_accumulation_steps: int = 1) -> Accelerator:
    """Accelerate's view of the device and processes.

    Args:
        mixed_precision: as in the config; "auto" is resolved for the device.

    Raises:
        ConfigError: the device cannot compute in the chosen precision.
    """
    device = best_device()
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision=choose_precision(mixed_precision, device),
        gradient_accumulation_steps=gradient_accumulation_steps,
    )


def best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(wanted: str, device: str) -> str:
    """Resolve "auto": bf16 where the device computes in it, fp16 on older GPUs, else float32."""
    if wanted == "auto":
        if device == "cuda":
            return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
        return "bf16" if device == "cpu" and cpu_computes_bf16() else "no"
    if wanted == "fp16" and device == "cpu":
        raise ConfigError("mixed_precision is fp16, but the CPU cannot.", "Use auto, bf16 or no.")
    return wanted


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
