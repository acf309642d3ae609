"""Paths to other machines, and where paths that someone else wrote may lead."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["is_network_path", "lies_in"]

# \\server\share, also with slashes, and Windows' long forms \\?\UNC\server and \??\UNC\server.
NETWORK = re.compile(r"[\\/]([\\/]|\?\?[\\/])")


def is_network_path(text: str) -> bool:
    """Return whether a path is on another machine.

    On Windows, even checking whether such a path exists sends the user's credentials to that
    machine, and a workflow or run from someone else could name any.
    """
    return NETWORK.match(text) is not None


def lies_in(text: str, folders: Iterable[Path]) -> bool:
    """Return whether a path lies in one of the folders, by its text alone: nothing is touched."""
    try:
        return any(plain(text).is_relative_to(plain(folder)) for folder in folders)
    except ValueError:  # not a possible name
        return False


def plain(path: str | Path) -> Path:
    """Return the full path without "..", and in one case where the system knows only one."""
    return Path(os.path.normcase(os.path.abspath(path)))  # noqa: PTH100 - Path keeps ".."
