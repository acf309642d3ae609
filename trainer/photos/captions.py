"""Captions: the text file next to a photo, or the instance prompt."""

from __future__ import annotations

from pathlib import Path

from ..config.concept import CaptionMode
from ..errors import ConfigError
from ..files.input_file import unreadable

__all__ = ["read_caption", "read_text"]

MAX_CAPTION_BYTES = 8 * 1024  # the text encoder reads about 400


def read_caption(path: Path, mode: CaptionMode, instance_prompt: str) -> str:
    """Return the prompt of a photo: the text of its .txt file, or the instance prompt.

    Raises:
        ConfigError: the .txt is missing or empty in mode txt, too long, or not UTF-8.
    """
    if mode == "prompt":
        return instance_prompt
    file = path.with_suffix(".txt")
    caption = " ".join(read_text(file).split())
    if not caption and mode == "txt":
        raise ConfigError(
            f"Photo {path} has no caption in {file.name}.",
            "Write a caption, or choose another caption_mode.",
        )
    return caption or instance_prompt


def read_text(file: Path) -> str:
    """Return a caption file's text, or an empty string if there is no such file.

    Raises:
        ConfigError: it is too long, or not UTF-8.
    """
    try:
        if not file.is_file():
            return ""
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
