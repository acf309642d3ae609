"""Whether a LoRA file fits a model, told from names and shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..trainer.errors import ConfigError

Shape = tuple[int, ...]
DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"


@dataclass(frozen=True)
class Fit:
    """What of a LoRA the model has a place for.

    Args:
        unknown: keys that no layer of the model is named after.
        misshapen: layers whose size is another than the LoRA's, and parts that do not belong
            together.
    """

    total: int
    unknown: tuple[str, ...]
    misshapen: tuple[str, ...]


def compare(lora: Mapping[str, Shape], layers: Mapping[str, Shape | None]) -> Fit:
    """Look up every key of a LoRA.

    Args:
        lora: shape of each of the file's weights.
        layers: weight shape of each layer by its name in LoRA files, None where unknown.
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
    """The layer that a key belongs to: the part before one of its dots."""
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
    """Refuse a LoRA that is another model's; say what of a foreign one is left out.

    Args:
        own: the file was trained here, so that every key must have its place.

    Raises:
        ConfigError: it was made for another base.
    """
    if fit.misshapen or len(fit.unknown) == fit.total or (own and fit.unknown):
        example = (*fit.misshapen, *fit.unknown, "it is empty")[0]
        raise ConfigError(
            f"{name} was made for another base than this model ({example:.200}).",
            "Load the kind of checkpoint that it was trained on.",
        )
    if fit.unknown:
        return f"{len(fit.unknown)} of {fit.total} weights have no place in this model."
    return None
