"""What is in a folder of photos, and which photos the user's folders and files are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .class_set import LOCK_FILE, SETTINGS_FILE
from .decoding.decode import FORMATS_HINT
from .notes import counted, listed, names_of

__all__ = [
    "CAPTION_SUFFIXES", "FORMATS_HINT", "Group", "entries", "find_photos", "folded", "group_of",
    "groups_in", "is_photo_name", "photos_at", "photos_below", "photos_in",
]  # fmt: skip

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic",
    ".heif", ".hif", ".avif",
)  # fmt: skip
CAPTION_SUFFIXES = (".txt", ".caption", ".cap")  # what captioning tools write; the first wins
# Made by systems and disks and never by the user; so are all names that start with a dot.
SYSTEM_NAMES = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin",
    "system volume information",
}  # fmt: skip
CLASS_SET_FILES = {SETTINGS_FILE, LOCK_FILE}  # in a folder of class images that were generated
GROUP_NAME = re.compile(r"0*([1-9]\d{0,5})_(.*\S.*)", re.DOTALL)


@dataclass(frozen=True)
class Group:
    """A folder of photos as kohya's scripts name them: 10_sks dog.

    Args:
        repeats: how often each photo is trained in an epoch.
        prompt: of its photos without a caption.
    """

    folder: Path
    repeats: int
    prompt: str
    num_photos: int


def folded(name: str) -> str:
    """Return a form of a name in which names are equal that some file system takes for equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def entries(folder: Path) -> list[Path]:
    """Return the files and folders in a folder in natural order, without those of systems."""
    found = [path for path in folder.iterdir() if not is_system_name(path.name)]
    if SETTINGS_FILE in (path.name for path in found):
        found = [path for path in found if path.name not in CLASS_SET_FILES]
    return sorted(found, key=natural_key)


def is_system_name(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM_NAMES


def is_photo_name(path: Path) -> bool:
    """Whether a file's name says that it is an image of a format that is read."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Return a sort key that puts photo2 before photo10."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def photos_in(folder: Path) -> list[Path]:
    """Return the photos in a folder itself, in natural order."""
    return [path for path in entries(folder) if is_photo_name(path) and path.is_file()]


def group_of(folder: Path) -> Group | None:
    """Return a folder as kohya's scripts read its name; None where it has no such name."""
    found = GROUP_NAME.fullmatch(folder.name)
    if found is None:
        return None
    return Group(folder, int(found[1]), found[2].strip(), count_photos(folder))


def groups_in(folder: Path) -> list[Group]:
    """Return the folders with photos in a folder that are named as kohya's scripts do."""
    found = [group_of(path) for path in entries(folder) if path.is_dir()]
    return [group for group in found if group is not None and group.num_photos]


def photos_below(folder: Path) -> int:
    """Return how many photos there are in a folder and in its folders named by kohya's rule."""
    own = count_photos(folder)
    try:
        return own + sum(group.num_photos for group in groups_in(folder))
    except OSError:
        return own


def count_photos(folder: Path) -> int:
    """Return how many photos there are in a folder; 0 where it may not be listed."""
    try:
        return len(photos_in(folder))
    except OSError:
        return 0


def find_photos(sources: Sequence[str | Path]) -> list[Path]:
    """Return the image files of folders (not their subfolders) and single files, each once.

    Raises:
        ConfigError: a source does not exist or contains no photo.
    """
    if not sources:
        raise ConfigError("There are no photos.", FORMATS_HINT)
    found: dict[Path, Path] = {}
    for source in sources:
        for path in photos_at(Path(source)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def photos_at(source: Path) -> list[Path]:
    """Return a single file as it is, or a folder's photos in natural order.

    A folder whose photos all are in one folder such as 10_sks dog is read as that one.

    Raises:
        ConfigError: the source does not exist or contains no photo.
    """
    try:
        if source.is_file():
            return [source]
        found = photos_in(source)
        groups = [] if found else groups_in(source)
        if len(groups) == 1:
            found = photos_in(groups[0].folder)
        if not found:
            raise no_photos(source, groups)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be opened"
        hint = "Give an existing folder or file."
        raise ConfigError(f"Photos {source}: {reason}.", hint) from None
    return found


def no_photos(folder: Path, groups: Sequence[Group]) -> ConfigError:
    """Return the error for a folder without photos, which says what there is instead."""
    if groups:
        each = [f"{group.folder.name} ({counted(group.num_photos, 'photo')})" for group in groups]
        return ConfigError(
            f"The photos of {folder} are in several folders: {listed(each)}.",
            "Give one of them. In a terminal, train reads all of them, each with its own prompt.",
        )
    inside = {path: photos_below(path) for path in entries(folder) if path.is_dir()}
    if any(inside.values()):
        each = [f"{path.name} ({counted(n, 'photo')})" for path, n in inside.items() if n]
        first = next(path for path, number in inside.items() if number)
        return ConfigError(
            f"Folder {folder} contains no photos; its folders do: {listed(each)}.",
            f"Give such a folder: {first}",
        )
    others = entries(folder)
    instead = f", only {names_of(others)}" if others else ""
    return ConfigError(f"Folder {folder} contains no photos{instead}.", FORMATS_HINT)
