"""When the loss is a number no more: what was seen before it, and so the likely cause."""

from __future__ import annotations

import statistics
from collections import deque

import torch

from ..device.failures import BUT_FP16, Diverged

REMEMBERED, RECENT = 60, 10  # steps; single losses vary tenfold with their timesteps
GROWTH = 3.0
MAX_SKIPPED = 25  # in a row: from 65536 the scale has then fallen to 0.002


class LossWatch:
    """Remembers the last losses, and the updates that fp16's gradient scaler skipped."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.losses: deque[float] = deque(maxlen=REMEMBERED)
        self.skipped = 0

    def saw(self, loss: float, *, skipped: bool) -> None:
        """Take note of a finished step.

        Raises:
            Diverged: no update could be made for many steps.
        """
        self.losses.append(loss)
        self.skipped = self.skipped + 1 if skipped else 0
        if self.skipped >= MAX_SKIPPED:
            raise self.diverged(f"The gradients were infinite for {self.skipped} steps in a row.")

    def grew(self) -> bool:
        """Whether the loss was far higher in the last steps than in those before."""
        losses = list(self.losses)
        if len(losses) < 2 * RECENT:
            return False
        before, now = statistics.median(losses[:-RECENT]), statistics.median(losses[-RECENT:])
        return now > GROWTH * before

    def diverged(self, what: str) -> Diverged:
        """The error, with the likely cause by what was seen."""
        hints: list[str] = []
        if self.grew():
            hints.append("The loss had grown before: use a lower learning_rate.")
        if self.dtype == torch.float16:
            hints.append(f"fp16 overflows easily: use {BUT_FP16}.")
        if not hints:
            hints.append("Use a lower learning_rate, or another base checkpoint.")
        return Diverged(what, "Start a new run. " + " ".join(hints))
