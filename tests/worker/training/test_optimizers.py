"""The optimizer's contract: whatever it keeps of the weights outlives a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.helpers.tiny_state import VALUES
from trainer.config.config import Config
from trainer.config.trained import TrainedConfig
from trainer.worker.device.device import make_accelerator
from trainer.worker.trainable.contract import Trained
from trainer.worker.trainable.lora import Lora, inject
from trainer.worker.training.optimizer_kinds import OPTIMIZERS, OptimizerKind
from trainer.worker.training.optimizers import Optimizer

SGD = OptimizerKind(
    make=lambda groups, training, scaled: torch.optim.SGD(groups, momentum=0.9),
    state_of=lambda weight: {"momentum_buffer": weight},
    scratch_bytes=lambda weights, scaled: 0,
)
KINDS = {"adamw": OPTIMIZERS["adamw"], "sgd": SGD}


def optimizer_of(kind: OptimizerKind, monkeypatch: pytest.MonkeyPatch) -> Optimizer:
    monkeypatch.setitem(OPTIMIZERS, "adamw", kind)
    torch.manual_seed(0)
    layers = inject("lora_unet", nn.Sequential(nn.Linear(4, 4)), {"r": 2, "target_modules": ["0"]})
    trained = Trained([Lora("learning_rate", layers, TrainedConfig(rank=2))])
    trained.initialize(0)
    return Optimizer(trained, Config.from_values(VALUES), make_accelerator("no"))


def step(optimizer: Optimizer, number: int) -> None:
    rng = torch.Generator().manual_seed(number)
    for parameter in optimizer.trained.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=rng)
    optimizer.step()


@pytest.mark.parametrize("kind", KINDS)
def test_four_steps_equal_two_a_save_a_load_and_two_more(kind, monkeypatch):
    straight, before, after = (optimizer_of(KINDS[kind], monkeypatch) for _ in range(3))
    for number in range(4):
        step(straight, number)
    for number in range(2):
        step(before, number)
    after.trained.load(before.trained.tensors())
    after.load(before.tensors())
    for number in range(2, 4):
        step(after, number)
    for name, value in straight.trained.tensors().items():
        assert torch.equal(value, after.trained.tensors()[name])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_as_large_as_was_said(kind, monkeypatch):
    optimizer = optimizer_of(KINDS[kind], monkeypatch)
    needed = optimizer.bytes_for_update()
    step(optimizer, 0)
    assert sum(value.nbytes for value in optimizer.tensors().values()) == optimizer.num_bytes()
    assert needed - optimizer.bytes_for_update() == optimizer.num_bytes()


def test_the_state_of_another_optimizer_is_refused_by_a_name(monkeypatch):
    adamw, sgd = (optimizer_of(kind, monkeypatch) for kind in KINDS.values())
    step(adamw, 0)
    with pytest.raises(ValueError, match="lora_down.weight"):
        sgd.load(adamw.tensors())
