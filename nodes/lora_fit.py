"""Checks whether a LoRA file fits a model, by names and shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..trainer.errors import ConfigError

__all__ = ["Fit", "Shape", "compare", "require_fit"]

Shape = tuple[int, ...]
OTHER_BASE = (
    "Load the kind of checkpoint that it was trained on. If this is it, the file is damaged, or "
    "names its layers in a way that ComfyUI does not know."
)
DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"


@dataclass(frozen=True)
class Fit:
    """How well a LoRA fits a model.

    Args:
        total: number of weights in the file.
        unknown: keys that belong to no layer of the model.
        misshapen: layers and keys whose shapes do not match.
    """

    total: int
    unknown: tuple[str, ...]
    misshapen: tuple[str, ...]


def compare(lora: Mapping[str, Shape], layers: Mapping[str, Shape | None]) -> Fit:
    """Match the keys of a LoRA with the layers of a model.

    Args:
        lora: shapes of the file's weights.
        layers: weight shapes of the layers by their names in LoRA files; None if unknown.
    """
    unknown = tuple(key for key in lora if layer_of(key, layers) is None)
    pairs = ((key.removesuffix(DOWN), key) for key in lora if key.endswith(DOWN))
    misshapen = tuple(
        name
        for name, key in pairs
        if name + UP in lora and not same_size(lora[name + UP], lora[key], layers.get(name))
    )
    misshapen += tuple(key for key in lora if key.endswith(ALPHA) and math.prod(lora[key]) != 1)
    return Fit(len(lora), unknown, misshapen)


def layer_of(key: str, layers: Iterable[str]) -> str | None:
    """Return the layer that a key belongs to: the part before one of its dots."""
    end = key.find(".")
    while end >= 0:
        if key[:end] in layers:
            return key[:end]
        end = key.find(".", end + 1)
    return None


def same_size(up: Shape, down: Shape, weight: Shape | None) -> bool:
    if len(up) < 2 or len(down) < 2 or up[1] != down[0]:
        return False
    return weight is None or (up[0], down[1]) == weight[:2]


def require_fit(fit: Fit, name: str, own: bool) -> str | None:
    """Refuse a LoRA for another model; return a warning if some weights are not used.

    Args:
        own: this pack trained the file, so every key must match.

    Raises:
        ConfigError: the LoRA does not fit the model.
    """
    if fit.misshapen or len(fit.unknown) == fit.total or (own and fit.unknown):
        raise ConfigError(f"{name} does not fit this model: {misfit(fit)}.", OTHER_BASE)
    if fit.unknown:
        return f"{len(fit.unknown)} of {fit.total} weights do not fit this model and are ignored."
    return None


def misfit(fit: Fit) -> str:
    """Return what does not fit, with one example."""
    if fit.misshapen:
        return f"{fit.misshapen[0]:.200} has another size"
    return f"the model has no {fit.unknown[0]:.200}" if fit.unknown else "it is empty"
