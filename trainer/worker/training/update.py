"""One optimizer update: gradients in parts that fit, shared between processes, clipped, applied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...config.config import Config
from ..data.batches import PromptEncoder, Share, TrainingData, step_batches
from ..device.device import any_process
from ..device.failures import Diverged
from ..device.memory import free_memory, shortage
from ..memory.stepdown import StepMemory
from ..objective.loss import diffusion_loss
from ..trainable.lora import Adapter
from .divergence import LossWatch
from .optimizers import make_optimizer, set_learning_rate


@dataclass(frozen=True)
class Losses:
    """What one update came to; `prior` is None without class images."""

    loss: float
    instance: float
    prior: float | None
    learning_rate: float


class Updater:
    """Makes one update after another.

    Args:
        unet: prepared by accelerate, as are the text encoders behind `encode`.
        encode: gradients reach trained text encoders through it.
        encode_as_base: prompts as the base reads them.
        memory: knows in how small parts a step is done.
    """

    def __init__(
        self,
        config: Config,
        accelerator: Any,
        *,
        unet: Any,
        noise_scheduler: Any,
        adapter: Adapter,
        data: TrainingData,
        encode: PromptEncoder,
        encode_as_base: PromptEncoder,
        memory: StepMemory,
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.unet, self.noise_scheduler, self.adapter = unet, noise_scheduler, adapter
        self.data, self.encode, self.memory = data, encode, memory
        self.encode_as_base = encode_as_base
        self.watch = LossWatch(memory.machine.dtype)
        self.optimizer = make_optimizer(adapter, config)
        self.stepper: Any = accelerator.prepare(self.optimizer)

    def update(self, step: int) -> Losses:
        """Do the update that makes `step`; where it raises, no weight has changed.

        Raises:
            Diverged: the loss or the gradients are no numbers.
            OutOfMemory: even the smallest parts do not fit.
        """
        learning_rate = set_learning_rate(self.optimizer, self.config.training, step)
        losses = self.mean_losses(step, learning_rate, self.gradients(step))
        self.clip_gradients(step)
        self.stepper.step()
        self.optimizer.zero_grad()
        self.watch.saw(losses.loss, skipped=self.accelerator.optimizer_step_was_skipped)
        return losses

    def gradients(self, step: int) -> list[tuple[Tensor, Tensor]]:
        """Compute the gradients of a step, in smaller parts once memory is short.

        A failed attempt leaves nothing behind: the same images, noise and timesteps come again.
        Gives the errors (B,) of its images, and which of them are class images (B,).
        """
        while True:
            seen: list[tuple[Tensor, Tensor]] = []
            missing = shortage(lambda seen=seen: self.add_gradients(step, seen))
            if not any_process(self.accelerator, missing is not None):
                self.share_gradients()
                return seen
            del seen
            self.optimizer.zero_grad()
            free_memory()
            self.memory.step_down(missing or "Another process's memory is full.")

    def add_gradients(self, step: int, seen: list[tuple[Tensor, Tensor]]) -> None:
        """Add up the gradients of all windows; the images' errors are added to `seen`."""
        num_windows = self.config.training.gradient_accumulation_steps
        for i in range(num_windows):
            for loss, errors, is_class in self.window_losses((step - 1) * num_windows + i):
                self.accelerator.backward(loss)
                seen.append((errors, is_class))
        self.try_room_for_update()

    def window_losses(self, window: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The loss of each batch of a forward window, its images' errors and which are classes."""
        share = Share(self.accelerator.process_index, self.accelerator.num_processes)
        batches = step_batches(
            self.data, self.config, self.encode, self.encode_as_base, window,
            share=share, most_images=self.memory.most_images,
        )  # fmt: skip
        for batch in batches:
            placed = batch.to(self.accelerator.device)
            loss, errors = diffusion_loss(
                self.unet, self.noise_scheduler, placed, self.config.training.snr_gamma,
                self.adapter.switched_off,
            )  # fmt: skip
            yield loss, errors, placed.is_class

    def try_room_for_update(self) -> None:
        """Run out of memory now rather than in the update: half of one cannot be done again."""
        factor = 4 if self.optimizer.state else 12  # bytes: square roots, and at first the moments
        count = sum(parameter.numel() for parameter in self.adapter.parameters())
        torch.empty(factor * count, dtype=torch.uint8, device=self.accelerator.device)

    def share_gradients(self) -> None:
        """Average the gradients over all processes: each has those of its own images."""
        if self.accelerator.num_processes == 1:
            return
        grads = [p.grad for p in self.adapter.parameters() if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        means: Any = self.accelerator.reduce(flat, "mean")
        for grad, mean in zip(grads, means.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def clip_gradients(self, step: int) -> None:
        """Clip to max_grad_norm; without a scaler, which skips such updates, refuse infinity."""
        norm = self.accelerator.clip_grad_norm_(
            self.adapter.parameters(), self.config.training.max_grad_norm
        )
        if self.accelerator.scaler is None and not math.isfinite(norm):
            raise self.watch.diverged(f"The gradients at step {step} are no numbers.")

    def mean_losses(
        self, step: int, learning_rate: float, seen: Sequence[tuple[Tensor, Tensor]]
    ) -> Losses:
        errors = self.accelerator.gather(torch.cat([errors for errors, _ in seen])).cpu()
        is_class = self.accelerator.gather(torch.cat([flags for _, flags in seen])).cpu()
        instance = errors[~is_class].mean().item()
        prior = errors[is_class].mean().item() if is_class.any() else None
        loss = instance + self.config.prior.prior_loss_weight * (prior or 0.0)
        if not math.isfinite(loss):
            raise self.watch.diverged(f"The loss at step {step} is {loss}.")
        return Losses(loss, instance, prior, learning_rate)

    def left_good_state(self, error: Exception) -> bool:
        """Whether what was learnt before an update failed is worth keeping."""
        if isinstance(error, Diverged) and self.watch.grew():
            return False
        return all(bool(torch.isfinite(p).all()) for p in self.adapter.parameters())
