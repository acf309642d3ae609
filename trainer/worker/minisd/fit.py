"""Train a network from scratch: AdamW, averaged weights, and a state to resume from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...files.atomic import write_atomic

__all__ = ["Plan", "fit", "load_average"]

REPORT_EVERY = 50


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Args:
        warmup: steps until the full learning rate.
        anneal: share of all steps, at the end, over which the rate falls to zero.
        averaging: steps over which weights are averaged.
    """

    steps: int
    learning_rate: float
    warmup: int = 500
    anneal: float = 0.25
    averaging: int = 1000
    weight_decay: float = 0.01
    save_every: int = 500

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        rise = min(1.0, step / self.warmup)
        fall = min(1.0, (self.steps - step + 1) / max(1.0, self.anneal * self.steps))
        return self.learning_rate * rise * fall

    def keep(self, step: int) -> float:
        """Return the average's decay at a step; it rises while the weights still change fast."""
        return min(1 - 1 / self.averaging, step / (step + 10))


@dataclass(frozen=True)
class Fitted:
    """A network, its averaged weights by name, and the optimizer with its moments."""

    model: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW


def fit(
    model: nn.Module,
    step_loss: Callable[[int], Tensor],
    plan: Plan,
    file: Path,
) -> dict[str, Tensor]:
    """Train up to `plan.steps`, resuming from `file` if it exists; return the averaged weights.

    Args:
        model: only parameters that require a gradient are trained.
        step_loss: the loss of a step, a pure function of its number and the weights.
        file: safetensors file for weights, averages and moments.
    """
    optimizer = torch.optim.AdamW(
        (parameter for parameter in model.parameters() if parameter.requires_grad),
        lr=plan.learning_rate,
        weight_decay=plan.weight_decay,
        fused=True,
    )
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    fitted = Fitted(model, average, optimizer)
    start = load_state(fitted, file) if file.exists() else 0
    began, total = time.monotonic(), 0.0
    for step in range(start + 1, plan.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(step)
        loss = step_loss(step)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                average[name].lerp_(parameter, 1 - plan.keep(step))
        total += loss.item()
        if step % REPORT_EVERY == 0:
            seconds = (time.monotonic() - began) / (step - start)
            print(
                f"{file.stem} {step}/{plan.steps} {total / REPORT_EVERY:.5f} {seconds:.3f} s/step"
            )
            total = 0.0
        if step % plan.save_every == 0 or step == plan.steps:
            write_atomic(file, save(dict(state(fitted)), {"step": json.dumps(step)}))
    return average


def state(fitted: Fitted) -> Iterator[tuple[str, Tensor]]:
    """Yield all that is needed to resume: weights, averages, moments."""
    for name, parameter in fitted.model.named_parameters():
        yield f"weight.{name}", parameter.detach().contiguous()
        yield f"average.{name}", fitted.average[name].contiguous()
        for key, value in fitted.optimizer.state.get(parameter, {}).items():
            yield f"{key}.{name}", value.contiguous()


def load_state(fitted: Fitted, file: Path) -> int:
    """Load a saved state; return its step."""
    kept = load_file(file)
    with torch.no_grad():
        for name, parameter in fitted.model.named_parameters():
            parameter.copy_(kept[f"weight.{name}"])
            fitted.average[name].copy_(kept[f"average.{name}"])
            if parameter.requires_grad:
                fitted.optimizer.state[parameter] = {
                    key: kept[f"{key}.{name}"].clone() for key in ("step", "exp_avg", "exp_avg_sq")
                }
    with safe_open(str(file), framework="pt") as header:
        return json.loads(header.metadata()["step"])


def load_average(model: nn.Module, file: Path) -> None:
    """Load the averaged weights of a saved state into a network."""
    kept = load_file(file)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(kept[f"average.{name}"])
