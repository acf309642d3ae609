"""What a training needs in memory, and whether a machine has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...config.config import Config
from ..device.memory import GIB
from ..training.optimizers import ADAMW
from .costs import NumberFormat, Step, num_trainable, sizes, step_cost

USABLE_SHARE = 0.85  # of what is free: the rest is lost between the allocator's blocks
# What kernels hold beside tensors on a CPU, fitted to six measurements of SD 1.5 in bf16: see
# benchmarks/results. A GPU's are not measured.
CPU_WORKSPACE_BYTES, CPU_WORKSPACE_NUMBERS_PER_PIXEL = round(0.18 * GIB), 400
CUDA_CONTEXT_BYTES = GIB // 2  # what a GPU holds before the first tensor; not measured by us


@dataclass(frozen=True)
class Machine:
    """What a plan is made for.

    Args:
        device: "cuda", "mps" or "cpu".
        free_bytes: before the base is loaded.
        program_bytes: what the process holds by itself; counted where the device is the CPU.
    """

    device: str
    dtype: torch.dtype
    free_bytes: int
    program_bytes: int = 0

    @property
    def usable_bytes(self) -> int:
        """What a plan may hold; the program itself is there already."""
        return round(USABLE_SHARE * self.free_bytes) + self.program_bytes

    @property
    def numbers(self) -> NumberFormat:
        return NumberFormat(self.dtype, self.device == "cpu")


def training_step(config: Config, machine: Machine, *, checkpointing: bool) -> Step:
    """The forward and backward pass of these settings."""
    images = config.training.train_batch_size * (2 if config.has_class_images else 1)
    side = config.resolution
    return Step(config.model, config.lora, machine.numbers, images, side, checkpointing)


def training_memory(config: Config, machine: Machine, *, checkpointing: bool) -> dict[str, int]:
    """Predicted bytes of training by kind."""
    trained = num_trainable(config.model, config.lora)
    step = training_step(config, machine, checkpointing=checkpointing)
    return {
        "weights": weight_bytes(config, machine),
        "trained": 4 * trained,
        "gradients": 4 * trained,
        "optimizer": ADAMW.state_bytes * trained,
        "activations": step_cost(step).peak_bytes,
        **({"workspace": workspace_bytes(step)} if machine.device == "cpu" else {}),
    }


def workspace_bytes(step: Step) -> int:
    pixels = step.num_images * step.resolution**2
    numbers = CPU_WORKSPACE_NUMBERS_PER_PIXEL * pixels
    return CPU_WORKSPACE_BYTES + numbers * step.numbers.dtype.itemsize


def weight_bytes(config: Config, machine: Machine) -> int:
    """What is loaded while training; on a CPU the VAE stays beside the U-Net."""
    parts = sizes(config.model, machine.dtype)
    weights = parts.unet + (parts.vae if machine.device == "cpu" else 0)
    if config.lora.train_text_encoder:
        weights += parts.text_encoders * machine.dtype.itemsize // torch.float32.itemsize
    return weights


def uses_checkpointing(config: Config, machine: Machine) -> bool:
    """Whether to use gradient checkpointing; "auto" asks if the free memory holds the plan."""
    choice = config.training.gradient_checkpointing
    if choice != "auto":
        return choice == "on"
    return not fits(training_memory(config, machine, checkpointing=False), machine)


def fits(needed: dict[str, int], machine: Machine) -> bool:
    return sum(needed.values()) <= machine.usable_bytes
