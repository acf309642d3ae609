"""Why a loss became NaN or infinite: the likely cause, from the losses before it."""

from __future__ import annotations

import statistics
from collections import deque

import torch

from ..device.failures import BUT_FP16, Diverged

__all__ = ["LossWatch"]

REMEMBERED, RECENT = 60, 10  # steps; single losses vary tenfold with the timestep
GROWTH = 3.0
MAX_SKIPPED = 25  # in a row: by then the scale has fallen from 65536 to 0.002


class LossWatch:
    """Remembers the last losses, and the updates that fp16's gradient scaler skipped."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.losses: deque[float] = deque(maxlen=REMEMBERED)
        self.skipped = 0

    def saw(self, loss: float, *, skipped: bool) -> None:
        """Record a finished step.

        Raises:
            Diverged: too many updates in a row were skipped.
        """
        self.losses.append(loss)
        self.skipped = self.skipped + 1 if skipped else 0
        if self.skipped >= MAX_SKIPPED:
            raise self.diverged(f"Gradients were infinite for {self.skipped} steps in a row.")

    def grew(self) -> bool:
        """Return whether the loss was far higher in the last steps than before."""
        losses = list(self.losses)
        if len(losses) < 2 * RECENT:
            return False
        before, now = statistics.median(losses[:-RECENT]), statistics.median(losses[-RECENT:])
        return now > GROWTH * before

    def diverged(self, what: str) -> Diverged:
        """Return the error with hints on the likely cause.

        Args:
            what: what became NaN or infinite, as a sentence.
        """
        hints: list[str] = []
        if self.grew():
            hints.append("The loss was already growing: use a lower learning_rate.")
        if self.dtype == torch.float16:
            hints.append(f"fp16 overflows easily: use {BUT_FP16}.")
        if not hints:
            hints.append("Use a lower learning_rate, or another base checkpoint.")
        return Diverged(what, "Start a new run. " + " ".join(hints))
