"""Whether files stay below folders that may be read, links included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["first_outside", "is_below"]


def is_below(path: Path, folders: Sequence[Path]) -> bool:
    """Return whether a path is one of some folders or inside one, also after following links."""
    return first_outside([path], folders) is None


def first_outside(paths: Iterable[Path], folders: Sequence[Path]) -> Path | None:
    """Return the first path that is not below any of some folders; None if there is none.

    A path whose own text leads elsewhere is not touched: a look at it may tell whether it exists.
    """
    real = [Path(os.path.realpath(folder)) for folder in folders]
    named = [*real, *map(absolute, folders)]
    for path in paths:
        if not (below(absolute(path), named) and ends_below(path, real)):
            return path
    return None


def absolute(path: Path) -> Path:
    """Return the full path without ".." and without following links."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps ".."


def ends_below(path: Path, folders: Sequence[Path]) -> bool:
    try:
        return below(Path(os.path.realpath(path)), folders)
    except (OSError, ValueError):  # not a valid file name
        return False


def below(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
