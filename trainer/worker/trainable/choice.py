"""What a config trains, and the file that comes of it: the one place that knows every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ...config.trained import TrainedConfig
from ...model_files.families import Family
from ...runs.events import ResultKind
from .checkpoint_file import save_checkpoint_file
from .contract import Trained
from .full import whole_models
from .lora import wrap_layers
from .lora_file import save_lora
from .origin import Origin

__all__ = ["make_trained", "save_result", "weights_dtype"]


def make_trained(
    family: Family, unet: nn.Module, text_encoders: Sequence[nn.Module], config: TrainedConfig
) -> Trained:
    """Make the models trainable as the config says; the weights have no values yet.

    Args:
        text_encoders: those to be trained; none where they stay frozen.
    """
    make = whole_models if config.is_full else wrap_layers
    return make(family, unet, text_encoders, config)


def weights_dtype(config: TrainedConfig, dtype: torch.dtype) -> torch.dtype:
    """Return the number format in which models are loaded that are computed in `dtype`."""
    return torch.float32 if config.is_full else dtype


def save_result(wanted: Path, trained: Trained, origin: Origin) -> tuple[Path, ResultKind]:
    """Write what was trained to a file; returns its path, with a number if it was taken."""
    if origin.config.trained.is_full:
        return save_checkpoint_file(wanted, trained, origin), "checkpoint"
    return save_lora(wanted, trained, origin), "lora"
