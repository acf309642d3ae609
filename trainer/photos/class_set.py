"""Class images on disk: a folder that records the settings its images were generated with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files.atomic import remove_leftovers, write_atomic
from ..files.fingerprint import settings_key
from ..files.input_file import read_object
from ..files.lock import locked
from ..files.own import check_tree, is_own_file, make_folder

__all__ = [
    "LOCK_FILE",
    "SETTINGS_FILE",
    "ClassSet",
    "check_fresh",
    "class_set",
    "make_missing",
    "set_settings",
]

SETTINGS_FILE = "set.json"
LOCK_FILE = "lock"
MAX_SETTINGS_BYTES = 1_000_000
USUAL = {"clip_skip": 1}  # what a set does not record was so


@dataclass(frozen=True)
class ClassSet:
    """Images 000000.png, 000001.png, ... that were generated with the same settings.

    Args:
        settings: all that determines the images, except their number; image i has seed + i.
    """

    folder: Path
    settings: Mapping[str, Any]

    def path(self, index: int) -> Path:
        """Return the file of one image."""
        return self.folder / f"{index:06d}.png"

    def paths(self, count: int) -> list[Path]:
        """Return the files of the first `count` images."""
        return [self.path(index) for index in range(count)]

    def missing(self, count: int) -> list[int]:
        """Return the indices of the first `count` images that do not exist yet."""
        return [index for index in range(count) if not is_own_file(self.path(index))]


def class_set(cache: Path, settings: Mapping[str, Any]) -> ClassSet:
    """Return the set for these settings, in a folder named after their hash."""
    key = settings_key(dict(settings))
    return ClassSet(cache / "class_images" / key[:20], settings)


def make_missing(
    images: ClassSet,
    count: int,
    *,
    check: Callable[[], None],
    waiting: Callable[[int], None],
    make: Callable[[Sequence[int]], None],
) -> None:
    """Generate the missing ones of the first `count` images, one process at a time.

    Args:
        check: called repeatedly while another process holds the folder; raises to give up.
        waiting: called meanwhile with the number of existing images, whenever it changes.
        make: generates the images of these indices, and writes each completely or not at all.

    Raises:
        ConfigError: there are links in the set, or on the way to it from the cache.
    """
    folder = images.folder.absolute()
    make_folder(folder.parents[2], folder)  # of which the cache is an entry
    check_tree(images.folder)
    if not images.missing(count):
        return
    with locked(images.folder / LOCK_FILE, Waiting(images, count, check, waiting)) as lock:
        remove_leftovers(lock, [images.folder])
        missing = images.missing(count)
        if missing:  # another process may have generated them meanwhile
            settings = json.dumps(dict(images.settings), indent=2)
            write_atomic(images.folder / SETTINGS_FILE, settings)
            make(missing)


class Waiting:
    """Counts the images that another process generates; see `make_missing` for the arguments."""

    def __init__(
        self,
        images: ClassSet,
        count: int,
        check: Callable[[], None],
        report: Callable[[int], None],
    ) -> None:
        self.images, self.count, self.check, self.report = images, count, check, report
        self.reported = -1

    def __call__(self) -> None:
        self.check()
        done = self.count - len(self.images.missing(self.count))
        if done != self.reported:
            self.reported = done
            self.report(done)


def set_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of a folder's images; None for a folder of the user's own images."""
    file = folder / SETTINGS_FILE
    if not os.path.lexists(file):
        return None
    hint = "Delete the folder; its images will be generated again."
    return read_object(file, MAX_SETTINGS_BYTES, hint, own=True)


def check_fresh(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse class images that were generated with other settings.

    Args:
        wanted: settings that must match; those that the folder does not record are not compared.

    Raises:
        ConfigError: names what differs.
    """
    settings = {**USUAL, **found} if (found := set_settings(folder)) else {}
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise ConfigError(
                f"class_images {folder} were generated with {name} {settings[name]!r:.200}, "
                f"not {value!r:.200}.",
                "Generate new ones with these settings, or choose the matching folder.",
            )
