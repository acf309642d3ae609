"""How a training step is made to fit into memory: predicted before it, made smaller when it fails.

What is done here changes what a step costs, not what it learns: the same images, noise, timesteps
and weights give the same gradients, those of smaller parts up to the rounding of their sum.
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

PERMANENT = "To begin with that, set {}."


class StepMemory:
    """The memory of one training's steps.

    Args:
        unet: with its LoRA; gradient checkpointing is switched on here where it is needed.
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
        # The same in all processes, since they step down together.
        checkpointing = any_process(accelerator, uses_checkpointing(config, self.machine))
        if checkpointing:
            report(Status("loading", message="Gradient checkpointing is on"))
            switch_checkpointing_on(unet)
        self.plan = training_memory(config, self.machine, checkpointing=checkpointing)
        if not fits(self.plan, self.machine):
            self.warn_of_plan(checkpointing=checkpointing)

    def warn_of_plan(self, *, checkpointing: bool) -> None:
        needed, free = (size / GIB for size in (sum(self.plan.values()), self.machine.free_bytes))
        message = f"Training needs about {needed:.1f} GiB of memory, and {free:.1f} are there."
        hint = describe_savings(self.config, self.machine, checkpointing=checkpointing)
        self.report(Warning("memory", message, hint))

    def step_down(self, missing: str) -> None:
        """Make the next attempt smaller, and say so.

        Raises:
            OutOfMemory: nothing is left to do.
        """
        if not self.unet.is_gradient_checkpointing:
            switch_checkpointing_on(self.unet)
            done, setting = "gradient checkpointing on", "gradient_checkpointing to on"
        elif self.most_images > 1:
            self.most_images = math.ceil(self.most_images / 2)
            done = f"at most {self.most_images} images in one pass"
            setting = "train_batch_size lower and gradient_accumulation_steps higher by as much"
        else:
            raise self.exhausted(missing)
        self.tried.append(done)
        message = f"{missing} The step is done again with {done}; its result is the same."
        self.report(Warning("out_of_memory", message, PERMANENT.format(setting)))

    def exhausted(self, missing: str) -> OutOfMemory:
        tried = ", ".join(self.tried) or "gradient checkpointing and single images were set already"
        hints: list[str] = []

        def savings() -> str:
            single = self.config.with_values(train_batch_size=1)
            return describe_savings(single, self.machine, checkpointing=True)

        shortage(lambda: hints.append(savings()))
        hint = hints[0] if hints else "Lower the resolution or the rank."
        return OutOfMemory(
            f"{missing} Tried: {tried}. The last finished step is kept.",
            f"Close other programs and go on with this run, or start a new one. {hint}",
        )
