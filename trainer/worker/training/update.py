"""One optimizer update: gradients in parts that fit, shared between processes, clipped, applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...config.config import Config
from ...runs.control import Stop
from ..data.batches import step_batches
from ..data.image_sets import Concept
from ..data.order import Share
from ..device.device import any_process
from ..device.failures import Diverged
from ..device.memory import free_memory, shortage
from ..memory.stepdown import StepMemory
from ..objective.loss import ImageErrors, diffusion_loss
from ..trainable.layers import TEXT_RATES
from ..trainable.model import ModelInTraining
from .divergence import LossWatch
from .optimizers import Optimizer, set_learning_rate

__all__ = ["Losses", "Updater"]


PADDING = -1
SHARED_NUMBERS = 1 << 26  # gradients that are averaged at once


@dataclass(frozen=True)
class Losses:
    """What one update came to.

    Args:
        loss: what was minimized, with all weights.
        instance: mean squared error of the instance images.
        prior: of the class images; None without any.
    """

    loss: float
    instance: float
    prior: float | None
    learning_rate: float


@dataclass(frozen=True)
class Updater:
    """Makes one update after another.

    Args:
        memory: knows in how small parts a step is done.
        watch: remembers the losses, and says why they became NaN.
        check: called before each pass, of which a step can have hundreds; raises Stop.
    """

    config: Config
    accelerator: Any
    model: ModelInTraining
    optimizer: Optimizer
    concepts: Sequence[Concept]
    memory: StepMemory
    watch: LossWatch
    check: Callable[[], None] = lambda: None

    def update(self, step: int) -> Losses:
        """Do the update that makes `step`; where it raises, no weight has changed.

        Raises:
            Diverged: the loss or the gradients are NaN or infinite.
            OutOfMemory: even the smallest parts do not fit.
            Stop: a stop was asked for before all passes were done.
        """
        learning_rate = set_learning_rate(self.optimizer, self.config.training, step)
        self.freeze_text_encoders(step)
        losses = self.losses(step, learning_rate, self.gradients(step))
        self.clip_gradients(step)
        self.optimizer.step()
        self.watch.saw(losses.loss, skipped=self.accelerator.optimizer_step_was_skipped)
        return losses

    def freeze_text_encoders(self, step: int) -> None:
        """Stop training the text encoders at the update after the last one that was set."""
        last = self.config.training.text_encoder_train_steps
        if last is not None and step > last:
            self.model.trained.freeze(TEXT_RATES)

    def gradients(self, step: int) -> list[ImageErrors]:
        """Compute the gradients of a step, in smaller parts once memory is short.

        A failed attempt leaves nothing behind: the same images, noise and timesteps come again.
        """
        while True:
            seen: list[ImageErrors] = []
            missing, stopped = None, False
            try:
                missing = shortage(lambda seen=seen: self.add_gradients(step, seen))
            except Stop:
                stopped = True
            if any_process(self.accelerator, stopped):
                self.optimizer.zero_grad()
                raise Stop
            if not any_process(self.accelerator, missing is not None):
                self.share_gradients()
                return seen
            del seen
            self.optimizer.zero_grad()
            free_memory()
            self.memory.step_down(missing or "Another process is out of memory.")

    def add_gradients(self, step: int, seen: list[ImageErrors]) -> None:
        """Add up the gradients of all windows; the images' errors are added to `seen`."""
        num_windows = self.config.training.gradient_accumulation_steps
        for i in range(num_windows):
            for loss, errors in self.window_losses((step - 1) * num_windows + i):
                self.accelerator.backward(loss)
                seen.append(errors)
        self.try_room_for_update()

    def window_losses(self, window: int) -> Iterator[tuple[Tensor, ImageErrors]]:
        """Yield the loss of each batch of a forward window, and its images' errors."""
        share = Share(self.accelerator.process_index, self.accelerator.num_processes)
        training, most_images = self.config.training, self.memory.passes.num_images
        batches = step_batches(
            self.concepts, training, window, share=share, most_images=most_images
        )
        for batch in batches:
            self.check()
            yield diffusion_loss(self.model, batch.to(self.model.device), training.snr_gamma)

    def try_room_for_update(self) -> None:
        """Run out of memory now rather than in the update: half of one cannot be done again."""
        size = self.optimizer.bytes_for_update()
        torch.empty(size, dtype=torch.uint8, device=self.model.device)

    def share_gradients(self) -> None:
        """Average the gradients over all processes: each has those of its own images."""
        if self.accelerator.num_processes == 1:
            return
        grads = [p.grad for p in self.model.trained.parameters() if p.grad is not None]
        for some in portions(grads):
            flat = torch.cat([grad.flatten() for grad in some])
            means: Any = self.accelerator.reduce(flat, "mean")
            for grad, mean in zip(some, means.split([g.numel() for g in some]), strict=True):
                grad.copy_(mean.view_as(grad))

    def clip_gradients(self, step: int) -> None:
        """Clip to max_grad_norm; without a scaler, which skips such updates, refuse infinity."""
        norm = self.accelerator.clip_grad_norm_(
            self.model.trained.parameters(), self.config.training.max_grad_norm
        )
        if self.accelerator.scaler is None and not math.isfinite(norm):
            raise self.watch.diverged(f"Gradients became NaN or infinite at step {step}.")

    def losses(self, step: int, learning_rate: float, seen: Sequence[ImageErrors]) -> Losses:
        """Return what the images' errors of a step come to, over all processes."""
        names = ("error", "weight", "is_class")
        columns = [torch.cat([getattr(errors, name).float() for errors in seen]) for name in names]
        error, weight, kind = self.gather(torch.stack(columns)).cpu()  # (B,) each
        is_class = kind == 1
        instance = error[~is_class].mean().item()
        prior = error[is_class].mean().item() if is_class.any() else None
        weighted = error * weight * self.config.training.train_batch_size
        num_turns = int((~is_class).sum())
        loss = sum((weighted[of].sum() / num_turns).item() for of in (~is_class, is_class))
        if not math.isfinite(loss):
            raise self.watch.diverged(f"The loss became {loss} at step {step}.")
        return Losses(loss, instance, prior, learning_rate)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the columns of every process; one may have more class images than another."""
        if self.accelerator.num_processes == 1:
            return rows
        padded = self.accelerator.pad_across_processes(rows, dim=1, pad_index=PADDING)
        columns: Any = self.accelerator.gather(padded.T.contiguous())
        return columns[columns[:, 2] != PADDING].T

    def left_good_state(self, error: Exception) -> bool:
        """Whether what was learned before an update failed is worth keeping."""
        if isinstance(error, Diverged) and self.watch.grew():
            return False
        return self.model.trained.are_finite()


def portions(grads: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the gradients in groups of a limited size, at least one in each."""
    group: list[Tensor] = []
    for grad in grads:
        if group and sum(one.numel() for one in group) + grad.numel() > SHARED_NUMBERS:
            yield group
            group = []
        group.append(grad)
    if group:
        yield group
