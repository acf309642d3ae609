"""Notes on what may spoil a training, and the words that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import visible

__all__ = ["Note", "counted", "listed", "names_of"]

MAX_NAMED = 10


@dataclass(frozen=True)
class Note:
    """Something that may spoil the training, and what to do about it."""

    code: str
    message: str
    hint: str


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 photo", "2 photos"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(texts: Sequence[str]) -> str:
    """Return texts as one list; of a long one, the first and how many more there are."""
    shown, more = texts[:MAX_NAMED], len(texts) - MAX_NAMED
    return ", ".join(map(visible, shown)) + (f" and {more:,} more" if more > 0 else "")


def names_of(paths: Iterable[Path]) -> str:
    """Return the names of files as one list."""
    return listed([path.name for path in paths])
