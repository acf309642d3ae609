"""Run and cache folders, which others may have filled: no entry that is a link is ever followed.

People exchange runs as archives, and an archive may contain links to any file. The folder itself
may be reached through a link: that one was made by the user.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import ConfigError

__all__ = [
    "check_below", "check_file", "check_folder", "check_tree", "is_own_file", "keep_only",
    "make_folder", "open_own", "own_files", "remove",
]  # fmt: skip

NAME_SURROGATE = 0x20000000  # the bit of Windows' reparse tags that stand for another place
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for a pipe
FILE_SUFFIXES = (".json", ".jsonl", ".log", ".png", ".html", ".safetensors")  # of what we write
NO_LINKS = "Delete it, or put what it points to in its place: runs and caches contain no links."
COPY = "Put a copy of it in its place."
NOT_OURS = "Delete it: the trainer makes only files and folders."


def is_link(status: os.stat_result) -> bool:
    """Return whether `lstat` has found a link, or on Windows a junction.

    Files that OneDrive keeps online are reparse points too, but stand for themselves.
    """
    surrogate = getattr(status, "st_reparse_tag", 0) & NAME_SURROGATE
    return stat.S_ISLNK(status.st_mode) or bool(surrogate)


def is_own_file(path: Path) -> bool:
    """Return whether there is a regular file, and not a link to one."""
    try:
        status = path.lstat()
    except (OSError, ValueError):  # absent, or not a possible name
        return False
    return stat.S_ISREG(status.st_mode) and not is_link(status)


def check_entry(path: Path, status: os.stat_result) -> None:
    if is_link(status):
        raise ConfigError(f"{path} is a link.", NO_LINKS)
    if stat.S_ISDIR(status.st_mode):
        if path.suffix in FILE_SUFFIXES:
            raise ConfigError(f"{path} is a folder where a file belongs.", NOT_OURS)
    elif not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is a pipe or device, not a file.", NOT_OURS)


def check_file(path: Path, *, to_change: bool = False) -> None:
    """Refuse anything but a regular file; there need not be one.

    Args:
        to_change: also refuse a file that has a second name: it may be one outside.
    """
    if os.path.lexists(path):
        status = path.lstat()
        check_entry(path, status)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{path} is a folder where a file belongs.", NOT_OURS)
        if to_change and status.st_nlink > 1:
            raise ConfigError(f"{path} has a second name elsewhere (a hard link).", COPY)


def check_folder(path: Path) -> None:
    """Refuse anything but a folder; there need not be one."""
    if os.path.lexists(path):
        status = path.lstat()
        check_entry(path, status)
        if not stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{path} is a file where a folder belongs.", NOT_OURS)


def check_tree(folder: Path) -> None:
    """Refuse a folder with a link, pipe or device anywhere in it; it need not exist.

    Raises:
        ConfigError: names the entry.
    """
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        for entry in entries(current):
            path = current / entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another process has just removed it
                continue
            check_entry(path, status)
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []
    except OSError as error:
        hint = "Check its permissions, or delete it."
        raise ConfigError(f"{folder} cannot be read: {error.strerror}.", hint) from error


def check_below(root: Path, path: Path) -> None:
    """Refuse a path that leads through a link below the root, or to one.

    Raises:
        ConfigError: names the link.
    """
    if os.path.lexists(path):
        check_entry(path, path.lstat())
    for part in path.parents:
        if part == root:
            return
        check_folder(part)
    raise AssertionError(f"{path} is not below {root}")


def make_folder(root: Path, folder: Path) -> None:
    """Create a folder below the root, of which no part is a link.

    Raises:
        ConfigError: one is.
    """
    check_below(root, folder)
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)


def keep_only(root: Path, path: Path, made: re.Pattern[str]) -> None:
    """Make room for a file below the root: its folder exists, without other files of such a name.

    Args:
        made: matches the whole names of the files that we make there.

    Raises:
        ConfigError: the file, or a folder on the way to it, is a link.
    """
    make_folder(root, path.parent)
    check_file(path)
    for other in path.parent.iterdir():
        if other != path and made.fullmatch(other.name) and is_own_file(other):
            other.unlink()


def own_files(root: Path, folder: Path, suffix: str) -> list[Path]:
    """Return a folder's regular files with this suffix by name; none where a link is on the way."""
    try:
        check_below(root, folder)
        found = entries(folder)
    except ConfigError:
        return []
    paths = (folder / entry.name for entry in found)
    return sorted(path for path in paths if path.suffix == suffix and is_own_file(path))


def open_own(path: Path, mode: str = "rb") -> BinaryIO:
    """Open a file in binary mode; "a+b" and "rb+" create or change it.

    Raises:
        ConfigError: it is a link, not a regular file, or a file to change that has a second name.
    """
    check_file(path, to_change=mode != "rb")
    return cast(BinaryIO, open(path, mode, opener=no_follow))  # noqa: PTH123, SIM115


def no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | NO_FOLLOW, 0o666)


def remove(root: Path, path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there; links in it are not followed.

    Raises:
        ConfigError: it is a link, or one leads to it from the root.
        OSError: it cannot be removed.
    """
    check_below(root, path)
    if is_own_file(path):
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
