"""A whole model that is trained itself, as in the original DreamBooth (arXiv 2208.12242)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...config.trained import TrainedConfig
from ...model_files.families import Family
from .contract import Rate, Trained
from .layers import chosen, text_rates, unused_layers

__all__ = ["Full", "whole_models"]


@dataclass(frozen=True)
class Full:
    """One of the base's models, trained itself; a `Trainable`.

    Args:
        part: the model's folder name in diffusers, with which its weights' names start.
        weights: those that are trained, by name within the model.
    """

    rate: Rate
    part: str
    model: nn.Module
    weights: dict[str, nn.Parameter]

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trained weights as `<part>.<name>`."""
        for name, parameter in self.weights.items():
            yield f"{self.part}.{name}", parameter

    def initialize(self, rng: torch.Generator) -> None:
        """Start from the base's weights, in float32: half precision would round updates away."""
        for parameter in self.weights.values():
            parameter.data = parameter.data.float()

    def as_base(self) -> AbstractContextManager[None]:
        """Refuse: the base is what is being changed, and the config asks for no copy of it."""
        raise NotImplementedError("a full fine-tune has no frozen base")

    def file_weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return all weights of the model that training changes."""
        named = self.named_parameters()
        return {name: p.detach().to("cpu", dtype).contiguous() for name, p in named}


def whole_models(
    family: Family, unet: nn.Module, text_encoders: Sequence[nn.Module], config: TrainedConfig
) -> Trained:
    """Make the models themselves trainable.

    Args:
        text_encoders: those to be trained; none where they stay frozen.
    """
    parts = [make_trainable("learning_rate", "unet", unet, chosen(unet, config.layer_patterns))]
    for rate, kind, encoder in text_rates(family, text_encoders):
        skipped = unused_layers(family, encoder)
        names = [name for name, _ in encoder.named_parameters() if not is_under(name, skipped)]
        parts.append(make_trainable(rate, kind.folder, encoder, names))
    return Trained(parts)


def make_trainable(rate: Rate, part: str, model: Any, names: Sequence[str]) -> Full:
    weights = dict(model.named_parameters())
    kept = {name: weights[name].requires_grad_(True) for name in names}
    return Full(rate, part, model, kept)


def is_under(name: str, layers: Sequence[str]) -> bool:
    return any(f".{layer}." in f".{name}" for layer in layers)
