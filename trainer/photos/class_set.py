"""Class images on disk: a folder that knows what its images were made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files.atomic import remove_leftovers, write_atomic
from ..files.fingerprint import settings_key
from ..files.input_file import read_object
from ..files.lock import locked

__all__ = [
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


@dataclass(frozen=True)
class ClassSet:
    """Images 000000.png, 000001.png, ... that were made with the same settings.

    Args:
        settings: everything that shapes the images, but their number; image i has seed + i.
    """

    folder: Path
    settings: Mapping[str, Any]

    def path(self, index: int) -> Path:
        """The file of one image."""
        return self.folder / f"{index:06d}.png"

    def paths(self, count: int) -> list[Path]:
        """The files of the first `count` images."""
        return [self.path(index) for index in range(count)]

    def missing(self, count: int) -> list[int]:
        """The images of the first `count` that are still to be made."""
        return [index for index in range(count) if not self.path(index).exists()]


def class_set(cache: Path, settings: Mapping[str, Any]) -> ClassSet:
    """The set for these settings, in a folder named after them."""
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
    """Make the images of the first `count` that are not there yet, one process at a time.

    Args:
        check: called repeatedly while another process holds the folder; raises to give up.
        waiting: is passed the number of images that are there, whenever it changes meanwhile.
        make: makes the images of these indices and writes each one whole or not at all.
    """
    if not images.missing(count):
        return
    images.folder.mkdir(parents=True, exist_ok=True)
    with locked(images.folder / LOCK_FILE, Waiting(images, count, check, waiting)) as lock:
        remove_leftovers(lock, [images.folder])
        missing = images.missing(count)
        if missing:  # another process may have made them meanwhile
            settings = json.dumps(dict(images.settings), indent=2)
            write_atomic(images.folder / SETTINGS_FILE, settings)
            make(missing)


class Waiting:
    """Counts the images that another process is making; see `make_missing` for the arguments."""

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
    """What the images of a folder were made from; None for a folder of the user's own."""
    file = folder / SETTINGS_FILE
    if not file.exists():
        return None
    return read_object(file, MAX_SETTINGS_BYTES, "Delete the folder; its images are made again.")


def check_fresh(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse generated class images that were made for something else.

    Args:
        wanted: settings that must match; those that the folder does not state are not compared.

    Raises:
        ConfigError: names what differs.
    """
    settings = set_settings(folder) or {}
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise ConfigError(
                f"class_images {folder} were made with {name} {settings[name]!r:.200}, "
                f"not {value!r:.200}.",
                "Make new ones for these settings, or choose the folder that fits.",
            )
