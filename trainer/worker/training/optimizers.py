"""The optimizer, what it keeps of each weight, and the course of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...config.optimization import TrainingConfig
from ..trainable.contract import Rate, Trained, require_like

__all__ = ["ADAMW", "Optimizer", "OptimizerKind", "set_learning_rate"]

SCALER = "scaler"  # where the gradient scaler's state is kept among the tensors


@dataclass(frozen=True)
class OptimizerKind:
    """All that is special about an optimizer.

    Args:
        make: builds it from parameter groups.
        state_of: what it keeps of a weight once that was updated, by key; only shapes and types
            of the tensors count.
        state_bytes: of that, per number of a weight.
        scratch_bytes: what an update needs besides, per number of a weight.
    """

    make: Callable[[Sequence[dict[str, Any]], TrainingConfig], torch.optim.Optimizer]
    state_of: Callable[[Tensor], Mapping[str, Tensor]]
    state_bytes: int
    scratch_bytes: int


ADAMW = OptimizerKind(  # arXiv 1711.05101
    make=lambda groups, training: torch.optim.AdamW(groups, weight_decay=training.weight_decay),
    state_of=lambda weight: {"step": torch.zeros(()), "exp_avg": weight, "exp_avg_sq": weight},
    state_bytes=8,
    scratch_bytes=4,  # the square roots
)


class Optimizer:
    """The optimizer of everything that is trained, with fp16's gradient scaler; `Stateful`.

    Args:
        accelerator: prepares it, so that a scaler's skipped updates skip it.
    """

    def __init__(
        self,
        trained: Trained,
        training: TrainingConfig,
        accelerator: Any,
        *,
        kind: OptimizerKind = ADAMW,
    ) -> None:
        self.kind, self.trained, self.scaler = kind, trained, accelerator.scaler
        self.inner = kind.make(parameter_groups(trained, training), training)
        self.prepared: Any = accelerator.prepare(self.inner)

    def step(self) -> None:
        """Update the weights by their gradients, and forget these."""
        self.prepared.step()
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.inner.zero_grad()

    def bytes_for_update(self) -> int:
        """Return what the next update needs; at first its state is not there yet."""
        per_number = self.kind.scratch_bytes + (0 if self.inner.state else self.kind.state_bytes)
        return per_number * self.num_weights

    @property
    def num_weights(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.trained.parameters())

    def num_bytes(self) -> int:
        """Return the size of the state once every weight was updated."""
        return self.kind.state_bytes * self.num_weights

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept of each weight, as `<name of the weight>.<key>`; and the scaler's."""
        kept = {
            f"{name}.{key}": value.detach().cpu().contiguous()
            for name, parameter in self.trained.named_parameters()
            for key, value in self.inner.state.get(parameter, {}).items()
        }
        scaler = {} if self.scaler is None else self.scaler.state_dict()
        return kept | {f"{SCALER}.{key}": torch.tensor(value) for key, value in scaler.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up such a state; a weight that was never updated has none."""
        scaler = {k.partition(".")[2]: v for k, v in tensors.items() if k.startswith(f"{SCALER}.")}
        kept = {name: v for name, v in tensors.items() if not name.startswith(f"{SCALER}.")}
        updated = {name.rpartition(".")[0] for name in kept}
        named = [(n, p) for n, p in self.trained.named_parameters() if n in updated]
        wanted = {n: self.kind.state_of(parameter) for n, parameter in named}
        require_like(
            kept, {f"{n}.{key}": v for n, keys in wanted.items() for key, v in keys.items()}
        )
        state = {n: {key: kept[f"{n}.{key}"].clone() for key in keys} for n, keys in wanted.items()}
        self.inner.load_state_dict(self.state_dict(state))
        if self.scaler is not None and scaler:
            if scaler.keys() != self.scaler.state_dict().keys():
                raise ValueError(f"{SCALER} is not of this run")
            self.scaler.load_state_dict({key: value.item() for key, value in scaler.items()})

    def state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
        """Return torch's form of a state by weights' names; it places the tensors itself."""
        form = self.inner.state_dict()
        order = [p for group in self.inner.param_groups for p in group["params"]]
        places = {id(parameter): place for place, parameter in enumerate(order)}
        named = dict(self.trained.named_parameters())
        return {**form, "state": {places[id(named[n])]: dict(kept) for n, kept in state.items()}}


def parameter_groups(trained: Trained, training: TrainingConfig) -> list[dict[str, Any]]:
    """Return the weights by learning rate, the U-Net's first."""
    rates: dict[Rate, None] = dict.fromkeys(part.rate for part in trained.parts)
    groups = [(trained.parameters(rate), getattr(training, rate)) for rate in rates]
    return [{"params": params, "lr": rate, "initial_lr": rate} for params, rate in groups]


def set_learning_rate(optimizer: Optimizer, training: TrainingConfig, step: int) -> float:
    """Set the rates for the update that makes `step` (from 1); returns the first group's."""
    factor = lr_factor(training, step)
    for group in optimizer.inner.param_groups:
        group["lr"] = group["initial_lr"] * factor
    return optimizer.inner.param_groups[0]["lr"]


def lr_factor(training: TrainingConfig, step: int) -> float:
    """Return the share of the full learning rate at the update that makes `step` (from 1)."""
    warmup = training.lr_warmup_steps
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - 1 - warmup) / max(1, training.max_train_steps - warmup)
    if training.lr_scheduler == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if training.lr_scheduler == "linear" else 1.0
