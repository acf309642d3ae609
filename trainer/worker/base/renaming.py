"""Rename weights between the original (LDM/SGM) layout and diffusers'."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

__all__ = ["Pairs", "Shapes", "Weights", "inverse", "new_name", "rename", "renamed"]

Weights = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
Pairs = list[tuple[str, str]]  # (original prefix, diffusers prefix)


def renamed(original: str, diffusers: str, parts: Pairs) -> Pairs:
    """Return the pairs for the parts of a block."""
    return [(f"{original}.{a}", f"{diffusers}.{b}") for a, b in parts]


def rename(weights: Mapping[str, Tensor], pairs: Pairs) -> Weights:
    """Rename each weight by its longest matching prefix; weights without one keep their names."""
    table = dict(pairs)
    return {new_name(key, table): value for key, value in weights.items()}


def new_name(key: str, table: Mapping[str, str]) -> str:
    """Return the new name of a weight, by the longest prefix in the table."""
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in table:
            return ".".join([table[prefix], *parts[length:]])
    return key


def inverse(pairs: Pairs) -> Pairs:
    """Return the pairs that rename in the other direction."""
    return [(b, a) for a, b in pairs]
