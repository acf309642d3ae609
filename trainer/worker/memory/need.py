"""How much memory a training needs, and whether a machine has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...config.config import Config
from ..device.memory import GIB
from ..training.optimizer_kinds import OPTIMIZERS
from .costs import NumberFormat, Step, sizes, step_cost, trained_sizes

__all__ = [
    "CUDA_CONTEXT_BYTES",
    "Machine",
    "fits",
    "training_memory",
    "training_step",
    "uses_checkpointing",
    "weight_bytes",
]

USABLE_SHARE = 0.85  # of free memory: the rest is lost to fragmentation
# What kernels on a CPU allocate in addition to tensors, fitted to six measurements of SD 1.5 in
# bf16: see benchmarks/results. Not measured on GPUs.
CPU_WORKSPACE_BYTES, CPU_WORKSPACE_NUMBERS_PER_PIXEL = round(0.18 * GIB), 400
CUDA_CONTEXT_BYTES = GIB // 2  # allocated on a GPU before the first tensor; an estimate


@dataclass(frozen=True)
class Machine:
    """The machine that a plan is made for.

    Args:
        device: "cuda", "mps" or "cpu".
        free_bytes: before the base is loaded.
        program_bytes: what the process itself uses; counted only if the device is the CPU.
    """

    device: str
    dtype: torch.dtype
    free_bytes: int
    program_bytes: int = 0

    @property
    def usable_bytes(self) -> int:
        """Return how many bytes a plan may use, including the program, which is already loaded."""
        return round(USABLE_SHARE * self.free_bytes) + self.program_bytes

    @property
    def numbers(self) -> NumberFormat:
        """Return the number format of the base."""
        return NumberFormat(self.dtype, self.device == "cpu")


def training_step(config: Config, machine: Machine, *, checkpointing: bool) -> Step:
    """Return the forward and backward pass of these settings."""
    images = config.training.train_batch_size * (2 if config.has_class_images else 1)
    side = config.resolution
    return Step(config.model, config.trained, machine.numbers, images, side, checkpointing)


def training_memory(config: Config, machine: Machine, *, checkpointing: bool) -> dict[str, int]:
    """Return the predicted bytes of training by kind."""
    trained = trained_sizes(config.model, config.trained, machine.dtype)
    step = training_step(config, machine, checkpointing=checkpointing)
    # Traced gradients are small beside activations, but for those of whole models.
    once = config.trained.is_full and config.training.gradient_accumulation_steps == 1
    counted = trained.trained_bytes if once else 0
    return {
        "weights": weight_bytes(config, machine),
        "trained": trained.trained_bytes,
        "gradients": trained.trained_bytes,
        "optimizer": optimizer_bytes(config, machine),
        "activations": step_cost(step).peak_bytes - counted,
        **({"workspace": workspace_bytes(step)} if machine.device == "cpu" else {}),
    }


def optimizer_bytes(config: Config, machine: Machine) -> int:
    """Return the optimizer's state, and what an update needs besides."""
    kind = OPTIMIZERS[config.training.optimizer]
    weights = trained_sizes(config.model, config.trained, machine.dtype).weights
    scaled = machine.dtype == torch.float16
    return kind.state_bytes(weights) + kind.scratch_bytes(weights, scaled)


def workspace_bytes(step: Step) -> int:
    pixels = step.num_images * step.resolution**2
    numbers = CPU_WORKSPACE_NUMBERS_PER_PIXEL * pixels
    return CPU_WORKSPACE_BYTES + numbers * step.numbers.dtype.itemsize


def weight_bytes(config: Config, machine: Machine) -> int:
    """Return the size of all that is frozen in training; on a CPU the VAE stays in memory, too."""
    frozen = trained_sizes(config.model, config.trained, machine.dtype).frozen_bytes
    return frozen + (sizes(config.model, machine.dtype).vae if machine.device == "cpu" else 0)


def uses_checkpointing(config: Config, machine: Machine) -> bool:
    """Return whether to use gradient checkpointing; "auto": only if training needs it to fit."""
    choice = config.training.gradient_checkpointing
    if choice != "auto":
        return choice == "on"
    return not fits(training_memory(config, machine, checkpointing=False), machine)


def fits(needed: dict[str, int], machine: Machine) -> bool:
    """Return whether a machine has the memory for all kinds together."""
    return sum(needed.values()) <= machine.usable_bytes
