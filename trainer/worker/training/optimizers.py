"""The optimizer of a training, and the course of its learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...config.config import Config
from ...config.optimization import LRSchedule, TrainingConfig
from ..trainable.contract import Rate, Trained, require_like
from .optimizer_kinds import OPTIMIZERS

__all__ = ["Optimizer", "set_learning_rate"]

RESTARTS, POWER = 3, 2.0
SCALER = "scaler"  # where the gradient scaler's state is kept among the tensors


class Optimizer:
    """The optimizer of everything that is trained, with fp16's gradient scaler; `Stateful`.

    Args:
        accelerator: prepares it, so that a scaler's skipped updates skip it.
    """

    def __init__(self, trained: Trained, config: Config, accelerator: Any) -> None:
        self.kind = OPTIMIZERS[config.training.optimizer]
        self.trained, self.scaler = trained, accelerator.scaler
        groups = parameter_groups(trained, config)
        self.inner = self.kind.make(groups, config.training, self.scaler is not None)
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
        scratch = self.kind.scratch_bytes(self.trained.parameters(), self.scaler is not None)
        return scratch + (0 if self.inner.state else self.num_bytes())

    def num_bytes(self) -> int:
        """Return the size of the state once every weight was updated."""
        return self.kind.state_bytes(self.trained.parameters())

    def tensors(self) -> dict[str, Tensor]:
        """Return what is kept of each weight, as `<name of the weight>.<key>`; and the scaler's."""
        kept = {
            f"{name}.{key}": torch.as_tensor(value).detach().cpu().contiguous()
            for name, parameter in self.trained.named_parameters()
            for key, value in self.inner.state.get(parameter, {}).items()
        }
        seen: set[int] = set()  # bitsandbytes' tables are one tensor for all weights
        for name, value in kept.items():
            kept[name] = value.clone() if value.data_ptr() in seen else value
            seen.add(value.data_ptr())
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
            kept,
            {f"{n}.{k}": torch.as_tensor(v) for n, keys in wanted.items() for k, v in keys.items()},
        )
        state = {
            n: {key: as_kept(kept[f"{n}.{key}"], like) for key, like in keys.items()}
            for n, keys in wanted.items()
        }
        self.inner.load_state_dict(self.state_dict(state))
        if self.scaler is not None and scaler:
            if scaler.keys() != self.scaler.state_dict().keys():
                raise ValueError(f"{SCALER} is not of this run")
            self.scaler.load_state_dict({key: value.item() for key, value in scaler.items()})

    def state_dict(self, state: Mapping[str, Mapping[str, Tensor | int]]) -> dict[str, Any]:
        """Return torch's form of a state by weights' names; it places the tensors itself."""
        form = self.inner.state_dict()
        order = [p for group in self.inner.param_groups for p in group["params"]]
        places = {id(parameter): place for place, parameter in enumerate(order)}
        named = dict(self.trained.named_parameters())
        return {**form, "state": {places[id(named[n])]: dict(kept) for n, kept in state.items()}}


def as_kept(value: Tensor, like: Tensor | int) -> Tensor | int:
    return int(value) if isinstance(like, int) else value.clone()


def parameter_groups(trained: Trained, config: Config) -> list[dict[str, Any]]:
    """Return the weights by learning rate, the U-Net's first."""
    rates: dict[Rate, None] = dict.fromkeys(part.rate for part in trained.parts)
    groups = [(trained.parameters(rate), config.learning_rate(rate)) for rate in rates]
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
    return SCHEDULES[training.lr_scheduler](done, training)


def cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * done))


# The share of the full learning rate when a share of the steps after warm-up is done.
SCHEDULES: dict[LRSchedule, Callable[[float, TrainingConfig], float]] = {
    "constant": lambda done, training: 1.0,
    "linear": lambda done, training: 1 - done,
    "cosine": lambda done, training: cosine(done),
    "cosine_with_restarts": lambda done, training: cosine(
        done * (training.lr_num_cycles or RESTARTS) % 1
    ),
    "polynomial": lambda done, training: (1 - done) ** (training.lr_power or POWER),
}
