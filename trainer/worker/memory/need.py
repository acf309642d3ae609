"""How much memory a training needs, and whether a machine has it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...config.config import Config
from ..device.memory import GIB
from ..training.optimizer_kinds import OPTIMIZERS
from .costs import NumberFormat, Step, sizes, step_cost, trained_sizes

__all__ = [
    "CUDA_CONTEXT_BYTES",
    "Machine",
    "Passes",
    "choose_passes",
    "fits",
    "planned_ways",
    "training_memory",
    "training_step",
    "ways",
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
        return NumberFormat(self.dtype, self.device)


@dataclass(frozen=True)
class Passes:
    """How a step is computed; what it learns is the same but for rounding.

    Args:
        num_images: at most, in one forward and backward pass; a step of more takes several.
        checkpointing: whether backward computes the activations again instead of keeping them.
    """

    num_images: int
    checkpointing: bool


def ways(config: Config) -> list[Passes]:
    """Return the ways to compute a step, the fastest first.

    Several passes of fewer images do a quarter less work than one pass with checkpointing.
    """
    counts = [config.training.train_batch_size * (2 if config.has_class_images else 1)]
    while counts[-1] > 1:
        counts.append(math.ceil(counts[-1] / 2))
    modes = (True,) if config.training.gradient_checkpointing == "on" else (False, True)
    return [Passes(count, mode) for mode in modes for count in counts]


def planned_ways(config: Config, device: str) -> list[Passes]:
    """Return the ways in which a step may be computed from the start, the fastest first.

    On an Apple GPU attention keeps its whole matrices for backward, so there "auto" means on.
    """
    choice = config.training.gradient_checkpointing
    if choice == "auto" and device == "mps":
        choice = "on"
    wanted = {"on": (True,), "off": (False,)}.get(choice, (False, True))
    return [way for way in ways(config) if way.checkpointing in wanted]


def choose_passes(config: Config, machine: Machine) -> Passes:
    """Return the fastest way that fits, or the last one if none does."""
    possible = planned_ways(config, machine.device)
    found = (way for way in possible if fits(training_memory(config, machine, way), machine))
    return next(found, possible[-1])


def training_step(config: Config, machine: Machine, passes: Passes) -> Step:
    """Return the forward and backward pass of these settings."""
    return Step(
        config.model,
        config.trained,
        machine.numbers,
        passes.num_images,
        config.resolution,
        passes.checkpointing,
    )


def training_memory(config: Config, machine: Machine, passes: Passes) -> dict[str, int]:
    """Return the predicted bytes of training by kind."""
    trained = trained_sizes(config.model, config.trained, machine.dtype)
    step = training_step(config, machine, passes)
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


def fits(needed: dict[str, int], machine: Machine) -> bool:
    """Return whether a machine has the memory for all kinds together."""
    return sum(needed.values()) <= machine.usable_bytes
