"""Make a training step fit into memory: by prediction, and by retrying a failed one with less.

This changes what a step costs, not what it learns: the same images, noise, timesteps and weights
result in the same gradients; those of smaller parts differ only by rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ...config.config import Config
from ...runs.control import Report
from ...runs.events import Status, Warning
from ..device.device import any_process
from ..device.memory import GIB, OutOfMemory, free_bytes, shortage
from .costs import switch_checkpointing_on
from .need import Machine, Passes, fits, planned_ways, training_memory, ways, weight_bytes
from .plan import describe_savings

__all__ = ["StepMemory"]

NOTHING_LEFT = "Nothing left to reduce: gradient checkpointing is on, with one image per pass."
PERMANENT = "To start with it, set gradient_checkpointing to on."
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
        machine = Machine(accelerator.device.type, dtype, 0)
        loaded = weight_bytes(config, machine)
        self.machine = replace(machine, free_bytes=free_bytes(accelerator.device) + loaded)
        self.tried: list[str] = []
        possible = planned_ways(config, accelerator.device.type)
        # The same in all processes, because they step down together.
        while len(possible) > 1 and any_process(accelerator, not self.has_room(possible[0])):
            del possible[0]
        self.passes = possible[0]
        self.left = ways(config)[ways(config).index(self.passes) + 1 :]
        self.plan = training_memory(config, self.machine, self.passes)
        if self.passes != ways(config)[0] or self.passes.checkpointing:
            report(Status("loading", message=f"Training with {describe(self.passes)}"))
        if self.passes.checkpointing:
            switch_checkpointing_on(unet)
        if not self.has_room(self.passes):
            self.warn_of_plan()

    def has_room(self, passes: Passes) -> bool:
        """Return whether a step will fit that is computed in this way."""
        return fits(training_memory(self.config, self.machine, passes), self.machine)

    def warn_of_plan(self) -> None:
        """Report that training probably will not fit."""
        needed, free = (size / GIB for size in (sum(self.plan.values()), self.machine.free_bytes))
        message = f"Training needs about {needed:.1f} GiB; {free:.1f} GiB are available."
        self.report(Warning("memory", message, describe_savings(self.config, self.machine)))

    def step_down(self, missing: str) -> None:
        """Reduce the memory of the next attempt, and report it.

        Raises:
            OutOfMemory: nothing is left to reduce.
        """
        if not self.left:
            raise self.exhausted(missing)
        self.passes = self.left.pop(0)
        permanent = False
        if self.passes.checkpointing and not self.unet.is_gradient_checkpointing:
            switch_checkpointing_on(self.unet)
            permanent = True
        done = describe(self.passes)
        self.tried.append(done)
        message = f"{missing} Retrying this step with {done}; results are unchanged."
        self.report(Warning("out_of_memory", message, PERMANENT if permanent else ONLY_HERE))

    def exhausted(self, missing: str) -> OutOfMemory:
        """Return the error that says what was tried and which settings would help."""
        tried = f"Tried: {', '.join(self.tried)}." if self.tried else NOTHING_LEFT
        hints: list[str] = []

        shortage(lambda: hints.append(describe_savings(self.config, self.machine)))
        hint = hints[0] if hints else "Lower the resolution or the rank."
        return OutOfMemory(
            f"{missing} {tried} The last finished step is kept.",
            f"Close other programs and resume this run, or start a new one. {hint}",
        )


def describe(passes: Passes) -> str:
    """Return how a step is computed, in words."""
    images = f"at most {passes.num_images} image{'s' * (passes.num_images > 1)} per pass"
    return f"gradient checkpointing, {images}" if passes.checkpointing else images
