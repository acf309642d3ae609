"""Make a training step fit into memory: by prediction, and by retrying a failed one with less.

This changes what a step costs, not what it learns: the same images, noise, timesteps and weights
result in the same gradients; those of smaller parts differ only by rounding.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from ...config.config import Config
from ...runs.control import Report
from ...runs.events import Status, Warning
from ..device.device import any_process
from ..device.memory import GIB, OutOfMemory, free_bytes, shortage
from .costs import switch_checkpointing_on
from .need import Machine, fits, training_memory, training_step, uses_checkpointing, weight_bytes
from .plan import describe_savings

__all__ = ["StepMemory"]

NOTHING_LEFT = "Nothing left to reduce: gradient checkpointing is on and the batch size is 1."
PERMANENT = "To start that way, set {}."
SMALLER_BATCH = "train_batch_size lower and gradient_accumulation_steps higher by the same factor"
ONLY_HERE = "The rest of this run stays that way."


class StepMemory:
    """How the steps of one training fit into memory.

    Args:
        unet: with its LoRA; gradient checkpointing is switched on here if needed.
    """

    def __init__(
        self, config: Config, unet: Any, accelerator: Any, dtype: torch.dtype, report: Report
    ) -> None:
        self.config, self.unet, self.report = config, unet, report
        device = accelerator.device
        machine = Machine(device.type, dtype, 0)
        loaded = weight_bytes(config, machine)
        self.machine = replace(machine, free_bytes=free_bytes(device) + loaded)
        self.most_images = training_step(config, machine, checkpointing=False).num_images
        self.tried: list[str] = []
        # The same in all processes, because they step down together.
        checkpointing = any_process(accelerator, uses_checkpointing(config, self.machine))
        if checkpointing:
            report(Status("loading", message="Gradient checkpointing is on"))
            switch_checkpointing_on(unet)
        self.plan = training_memory(config, self.machine, checkpointing=checkpointing)
        if not fits(self.plan, self.machine):
            self.warn_of_plan(checkpointing=checkpointing)

    def warn_of_plan(self, *, checkpointing: bool) -> None:
        """Report that training probably will not fit."""
        needed, free = (size / GIB for size in (sum(self.plan.values()), self.machine.free_bytes))
        message = f"Training needs about {needed:.1f} GiB; {free:.1f} GiB are available."
        hint = describe_savings(self.config, self.machine, checkpointing=checkpointing)
        self.report(Warning("memory", message, hint))

    def step_down(self, missing: str) -> None:
        """Reduce the memory of the next attempt, and report it.

        Raises:
            OutOfMemory: nothing is left to reduce.
        """
        if not self.unet.is_gradient_checkpointing:
            switch_checkpointing_on(self.unet)
            done, setting = "gradient checkpointing", "gradient_checkpointing to on"
        elif self.most_images > 1:
            self.most_images = math.ceil(self.most_images / 2)
            done = f"at most {self.most_images} image{'s' * (self.most_images > 1)} per pass"
            setting = SMALLER_BATCH if self.config.training.train_batch_size > 1 else ""
        else:
            raise self.exhausted(missing)
        self.tried.append(done)
        message = f"{missing} Retrying this step with {done}; results are unchanged."
        hint = PERMANENT.format(setting) if setting else ONLY_HERE
        self.report(Warning("out_of_memory", message, hint))

    def exhausted(self, missing: str) -> OutOfMemory:
        """Return the error that says what was tried and which settings would help."""
        tried = f"Tried: {', '.join(self.tried)}." if self.tried else NOTHING_LEFT
        hints: list[str] = []

        def savings() -> str:
            single = self.config.with_values(train_batch_size=1)
            return describe_savings(single, self.machine, checkpointing=True)

        shortage(lambda: hints.append(savings()))
        hint = hints[0] if hints else "Lower the resolution or the rank."
        return OutOfMemory(
            f"{missing} {tried} The last finished step is kept.",
            f"Close other programs and resume this run, or start a new one. {hint}",
        )
