"""The optimizer and the course of the learning rate."""

from __future__ import annotations

import math

import torch

from ...config.config import Config, TrainingConfig
from ..trainable.lora import UNET_PREFIX, Adapter


def make_optimizer(adapter: Adapter, config: Config) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101); the text encoders' layers have a learning rate of their own."""
    training = config.training
    groups = [
        {"params": adapter.parameters(UNET_PREFIX), "initial_lr": training.learning_rate},
        {
            "params": adapter.parameters("lora_te"),
            "initial_lr": training.text_encoder_learning_rate,
        },
    ]
    return torch.optim.AdamW(
        [{**group, "lr": group["initial_lr"]} for group in groups if group["params"]],
        weight_decay=training.weight_decay,
    )


def set_learning_rate(
    optimizer: torch.optim.Optimizer, training: TrainingConfig, step: int
) -> float:
    """Set the rates for the update that makes `step` (from 1); gives the U-Net's."""
    factor = lr_factor(training, step)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    return optimizer.param_groups[0]["lr"]


def lr_factor(training: TrainingConfig, step: int) -> float:
    """The share of the full learning rate at the update that makes `step` (from 1)."""
    warmup = training.lr_warmup_steps
    if step <= warmup:
        return step / (warmup + 1)
    done = (step - 1 - warmup) / max(1, training.max_train_steps - warmup)
    if training.lr_scheduler == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if training.lr_scheduler == "linear" else 1.0
