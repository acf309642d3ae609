"""What a config trains, and the file that comes of it: the one place that knows every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ...config.trained import LoraConfig
from ...model_files.families import Family
from ...runs.events import ResultKind
from .contract import Trained
from .lora import wrap_layers
from .lora_file import Origin, save_lora

__all__ = ["make_trained", "save_result"]


def make_trained(
    family: Family, unet: nn.Module, text_encoders: Sequence[nn.Module], config: LoraConfig
) -> Trained:
    """Make the models trainable as the config says; the weights have no values yet.

    Args:
        text_encoders: those to be trained; none where they stay frozen.
    """
    return wrap_layers(family, unet, text_encoders, config)


def save_result(wanted: Path, trained: Trained, origin: Origin) -> tuple[Path, ResultKind]:
    """Write what was trained to a file; returns its path, with a number if it was taken."""
    return save_lora(wanted, trained, origin), "lora"
