"""Class images on disk: a folder that knows what its images were made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files.fingerprint import settings_key
from ..files.input_file import read_object

SETTINGS_FILE = "set.json"
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
        return self.folder / f"{index:06d}.png"

    def paths(self, count: int) -> list[Path]:
        return [self.path(index) for index in range(count)]

    def missing(self, count: int) -> list[int]:
        """The images of the first `count` that are still to be made."""
        return [index for index in range(count) if not self.path(index).exists()]


def class_set(cache: Path, settings: Mapping[str, Any]) -> ClassSet:
    """The set for these settings, in a folder named after them."""
    key = settings_key(dict(settings))
    return ClassSet(cache / "class_images" / key[:20], settings)


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
