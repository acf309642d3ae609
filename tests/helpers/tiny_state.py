"""The smallest real state that a checkpoint can keep: one LoRA layer and its optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from trainer.config.config import Config
from trainer.config.trained import TrainedConfig
from trainer.worker.device.device import make_accelerator
from trainer.worker.trainable.contract import Stateful, Trained
from trainer.worker.trainable.lora import Lora, inject
from trainer.worker.training.optimizers import Optimizer

KEY = "lora_unet_attn1_to_q.lora_down.weight"
DESCRIBED = {"settings": {"rank": 2}, "files": {"base": "abc"}, "places of photos": {"a.png": 0}}
PARTS = ("trained", "optimizer")
FILES = ("trained.safetensors", "optimizer.safetensors", "state.json", "sha256.json")
VALUES = {
    "base": "base",
    "instance_images": "photos",
    "instance_prompt": "a photo of sks dog",
    "output": "dog.safetensors",
}


class Attention(nn.Module):
    """One layer that an adapter is put on."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(4, 4)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn1 = Attention()


def tiny_state(rank: int = 2, *, updated: bool = False) -> Mapping[str, Stateful]:
    """The parts of a checkpoint; `updated` has made one step."""
    layers = inject("lora_unet", Block(), {"r": rank, "target_modules": ["to_q"]})
    trained = Trained([Lora("learning_rate", layers, TrainedConfig(rank=rank))])
    optimizer = Optimizer(trained, Config.from_values(VALUES), make_accelerator("no"))
    if updated:
        for parameter in trained.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    return {"trained": trained, "optimizer": optimizer}
