"""The optimizers that a config can name, and what each keeps of a weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...config.optimization import OptimizerName, TrainingConfig
from ..device.libraries import load_library

__all__ = ["OPTIMIZERS", "OptimizerKind", "require_optimizer"]

Groups = Sequence[dict[str, Any]]
BLOCK = 256  # numbers that share one scale in bitsandbytes' optimizers
MIN_8BIT = 4096  # numbers: smaller weights keep a float32 state there


@dataclass(frozen=True)
class OptimizerKind:
    """All that is special about an optimizer.

    Args:
        make: builds it from parameter groups; the last argument says whether fp16's gradient
            scaler is in use.
        state_of: what it keeps of a weight once that was updated, by key; only shapes and types
            of the tensors count.
        scratch_bytes: what an update of these weights needs besides.
        library: what must be installed for it, besides torch.
    """

    make: Callable[[Groups, TrainingConfig, bool], torch.optim.Optimizer]
    state_of: Callable[[Tensor], Mapping[str, Tensor | int]]
    scratch_bytes: Callable[[Sequence[Tensor], bool], int]
    library: str | None = None

    def state_bytes(self, weights: Iterable[Tensor]) -> int:
        """Return the size of all that is kept of these weights."""
        kept = (value for weight in weights for value in self.state_of(weight).values())
        return sum(value.nbytes if isinstance(value, Tensor) else 8 for value in kept)


def require_optimizer(training: TrainingConfig) -> None:
    """Raise ConfigError where the optimizer's library does not work here."""
    library = OPTIMIZERS[training.optimizer].library
    if library is not None:
        load(library, training)


def load(library: str, training: TrainingConfig) -> Any:
    setting = f"optimizer {training.optimizer}"
    return load_library(library, setting=setting, fallback="use optimizer adamw")


def make_adamw(groups: Groups, training: TrainingConfig, scaled: bool) -> torch.optim.Optimizer:
    # The fused kernel handles the scaler itself, and accelerate would not see skipped updates.
    return torch.optim.AdamW(groups, weight_decay=training.weight_decay, fused=not scaled)


def adamw_state(weight: Tensor) -> dict[str, Tensor | int]:
    return {"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight}


def adamw_scratch(weights: Sequence[Tensor], scaled: bool) -> int:
    return sum(weight.nbytes for weight in weights) if scaled else 0  # the square roots


def make_8bit(name: str) -> Callable[[Groups, TrainingConfig, bool], torch.optim.Optimizer]:
    """Return a function that builds one of bitsandbytes' optimizers (arXiv 2110.02861)."""

    def make(groups: Groups, training: TrainingConfig, scaled: bool) -> torch.optim.Optimizer:
        kind = getattr(load("bitsandbytes", training).optim, name)
        return kind(groups, weight_decay=training.weight_decay)

    return make


def state_8bit(weight: Tensor) -> dict[str, Tensor | int]:
    if weight.numel() < MIN_8BIT:
        return {"step": 0, "state1": weight, "state2": weight}
    codes = torch.empty_like(weight, dtype=torch.uint8)
    scales = torch.empty(math.ceil(weight.numel() / BLOCK), device=weight.device)
    table = torch.empty(256, device=weight.device)
    first = {"state1": codes, "qmap1": table, "absmax1": scales}
    return {"step": 0, **first, "state2": codes, "qmap2": table, "absmax2": scales}


def make_adafactor(groups: Groups, training: TrainingConfig, scaled: bool) -> torch.optim.Optimizer:
    """Return Adafactor (arXiv 1804.04235), whose updates are relative to the size of a weight."""
    return torch.optim.Adafactor(groups, weight_decay=training.weight_decay)


def adafactor_state(weight: Tensor) -> dict[str, Tensor | int]:
    step = torch.zeros(())
    if weight.ndim < 2:
        return {"step": step, "variance": weight}
    rows = weight.new_empty((*weight.shape[:-1], 1))
    columns = weight.new_empty((*weight.shape[:-2], 1, weight.shape[-1]))
    return {"step": step, "row_var": rows, "col_var": columns}


def largest_update(weights: Sequence[Tensor], scaled: bool) -> int:
    return 3 * max(weight.nbytes for weight in weights)  # weights are updated one by one


def nothing(weights: Sequence[Tensor], scaled: bool) -> int:
    return 0


OPTIMIZERS: dict[OptimizerName, OptimizerKind] = {
    "adamw": OptimizerKind(make_adamw, adamw_state, adamw_scratch),  # arXiv 1711.05101
    "adamw8bit": OptimizerKind(make_8bit("AdamW8bit"), state_8bit, nothing, "bitsandbytes"),
    "paged_adamw8bit": OptimizerKind(
        make_8bit("PagedAdamW8bit"), state_8bit, nothing, "bitsandbytes"
    ),
    "adafactor": OptimizerKind(make_adafactor, adafactor_state, largest_update),
}
