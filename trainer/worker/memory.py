"""What a training needs in memory, and whether to trade time for it."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import psutil
import torch
from torch import nn

from ..config import Config

GIB = 1024**3
# Estimates from layer shapes, in half precision and without gradient checkpointing; with it about
# an eighth remains.
ACTIVATION_BYTES_PER_PIXEL = {"sd1": 10_000, "sd2": 10_000, "sdxl": 8_000}
CHECKPOINTED_SHARE = 0.125
USABLE_SHARE = 0.85


def memory_plan(
    family: str, config: Config, models: Iterable[nn.Module], trainable: Iterable[nn.Parameter]
) -> dict[str, int]:
    """Predicted bytes of a training step by kind; activations are an estimate."""
    models = list(models)
    frozen = [p for model in models for p in model.parameters() if not p.requires_grad]
    num_trainable = sum(parameter.numel() for parameter in trainable)
    images = config.training.train_batch_size * (2 if config.prior.enabled else 1)
    pixels = images * config.instance.resolution**2
    scale = 2 if frozen[0].dtype == torch.float32 else 1
    return {
        "weights": sum(parameter.nbytes for parameter in frozen),
        "adapter": 4 * num_trainable,
        "gradients": 4 * num_trainable,
        "optimizer": 8 * num_trainable,
        "activations": scale * ACTIVATION_BYTES_PER_PIXEL[family] * pixels,
    }


def needs_checkpointing(plan: dict[str, int], config: Config, device: torch.device) -> bool:
    """Whether to use gradient checkpointing; "auto" asks if the free memory holds the plan."""
    choice = config.training.gradient_checkpointing
    if choice != "auto":
        return choice == "on"
    needed = sum(plan.values()) - resident_bytes(plan, device)
    return needed > USABLE_SHARE * free_bytes(device)


def with_checkpointing(plan: dict[str, int]) -> dict[str, int]:
    """The plan where activations are computed again in the backward pass."""
    return {**plan, "activations": round(plan["activations"] * CHECKPOINTED_SHARE)}


def resident_bytes(plan: dict[str, int], device: torch.device) -> int:
    """The part of a plan that is in the device's memory already: frozen weights."""
    return plan["weights"] if device.type in ("cuda", "cpu") else 0


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
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
