"""The learning rates in effect: those set, or the usual ones for what is trained."""

from __future__ import annotations

from .optimization import TrainingConfig
from .trained import TrainedConfig

__all__ = ["rate_in_effect"]

LORA, LORA_TEXT, FULL = 1e-4, 5e-5, 5e-6


def rate_in_effect(training: TrainingConfig, trained: TrainedConfig, name: str) -> float:
    """Return the learning rate that a setting stands for, by the setting's name."""
    rate = training.learning_rate or (FULL if trained.is_full else LORA)
    text_rate = training.text_encoder_learning_rate or (rate if trained.is_full else LORA_TEXT)
    second = training.text_encoder_2_learning_rate or text_rate
    return {
        "learning_rate": rate,
        "text_encoder_learning_rate": text_rate,
        "text_encoder_2_learning_rate": second,
    }[name]
