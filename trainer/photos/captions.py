"""Captions: the text file next to a photo, or the instance prompt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..config.concept import CaptionMode
from ..errors import ConfigError
from ..files.input_file import unreadable
from .folder import CAPTION_SUFFIXES, entries, folded

__all__ = ["Caption", "CaptionFiles", "is_caption_name", "read_caption", "read_text"]

MAX_CAPTION_BYTES = 8 * 1024  # the text encoder reads about 400


@dataclass(frozen=True)
class Caption:
    """What a photo is trained with.

    Args:
        file: where the text is from; None: it is the instance prompt.
        unused: further caption files of the photo: empty, or of another spelling.
    """

    text: str
    file: Path | None = None
    unused: tuple[Path, ...] = ()


class CaptionFiles:
    """Finds the caption files of photos; every folder is listed once.

    The caption of IMG_1.PNG is IMG_1.txt or IMG_1.png.txt, with any of the suffixes that tools
    write. Names are compared as on any system: in capitals or not, composed or decomposed.
    """

    def __init__(self) -> None:
        self.folders: dict[Path, dict[str, list[Path]]] = {}

    def of(self, photo: Path) -> list[Path]:
        """Return the caption files of a photo, the one that is used first."""
        known = self.folders.get(photo.parent)
        if known is None:
            known = self.folders[photo.parent] = captions_by_name(photo.parent)
        stems = (photo.stem, photo.name)
        found = [file for stem in dict.fromkeys(map(folded, stems)) for file in known.get(stem, ())]
        return sorted(found, key=lambda file: spelling(file, stems))


def captions_by_name(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    with suppress(OSError):  # a single photo in a folder that may not be listed
        for path in entries(folder):
            if is_caption_name(path) and path.is_file():
                found.setdefault(folded(path.stem), []).append(path)
    return found


def is_caption_name(path: Path) -> bool:
    """Whether a file's name says that it is a caption."""
    return path.suffix.lower() in CAPTION_SUFFIXES


def spelling(file: Path, stems: Sequence[str]) -> tuple[bool, int, bool, str]:
    """Return a sort key for the captions of a photo: the photo's own spelling first."""
    suffix = CAPTION_SUFFIXES.index(file.suffix.lower())
    return file.stem not in stems, suffix, folded(file.stem) != folded(stems[0]), file.name


def read_caption(
    photo: Path, mode: CaptionMode, instance_prompt: str, files: CaptionFiles | None = None
) -> Caption:
    """Return what a photo is trained with: its caption file's text, or the instance prompt.

    Raises:
        ConfigError: the caption is missing or empty in mode txt, too long, or not UTF-8.
    """
    found = (files or CaptionFiles()).of(photo)
    if mode == "prompt":
        return Caption(instance_prompt, None, tuple(found))
    for file in found:
        if text := " ".join(read_text(file).split()):
            return Caption(text, file, tuple(other for other in found if other != file))
    if mode == "txt":
        expected = found[0].name if found else f"{photo.stem}.txt"
        raise ConfigError(
            f"Photo {photo} has no caption in {expected}.",
            "Write a caption, or choose another caption_mode.",
        )
    return Caption(instance_prompt, None, tuple(found))


def read_text(file: Path) -> str:
    """Return a caption file's text.

    Raises:
        ConfigError: it cannot be read, is too long, or is not UTF-8.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_CAPTION_BYTES + 1)
    except OSError as error:
        raise unreadable(file, error) from error
    if len(content) > MAX_CAPTION_BYTES:
        raise ConfigError(
            f"Caption {file} is over {MAX_CAPTION_BYTES >> 10} KiB.", "Give one line of text."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16 without a byte order mark
        raise ConfigError(f"Caption {file} is not UTF-8.", "Save it as UTF-8 text.")
    return text
