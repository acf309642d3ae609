"""Files from the user: only regular files are opened, and JSON is read within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .own import check_file, open_own

__all__ = ["check_is_file", "parse_json", "read_json", "read_object", "unique_keys", "unreadable"]


def check_is_file(path: Path) -> None:
    """Refuse anything but a regular file; opening a pipe would wait forever.

    Raises:
        ConfigError: says what is there instead.
    """
    try:
        found = "file" if path.is_file() else "folder" if path.is_dir() else "other"
        if found == "other" and not path.exists():
            raise ConfigError(f"{path} does not exist.", "Check the path and the file name.")
    except (OSError, ValueError, RuntimeError) as error:  # a bad name, or a loop of links
        raise unreadable(path, error) from error
    if found == "folder":
        raise ConfigError(f"{path} is a folder.", "Give a file in it.")
    if found == "other":
        raise ConfigError(f"{path} is a pipe or device, not a file.", "Give a file.")


def unreadable(path: Path, error: Exception) -> ConfigError:
    """Return the error for a file or folder that cannot be read."""
    reason = getattr(error, "strerror", None) or error  # an OSError's text repeats the path
    return ConfigError(f"{path} cannot be read: {reason}.", "Check the path and its permissions.")


def read_object(path: Path, max_bytes: int, hint: str, *, own: bool = False) -> dict[str, Any]:
    """Read a file that contains one JSON object in UTF-8, with or without a byte order mark.

    Args:
        own: it is a file that the trainer makes, so that a link is refused.

    Raises:
        ConfigError: it does not exist, is too long or is not a JSON object; `hint` says what to do.
    """
    document = read_json(path, max_bytes, hint, own=own)
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a JSON object.", hint)
    return document


def read_json(path: Path, max_bytes: int, hint: str, *, own: bool = False) -> Any:
    """Read a file of JSON in UTF-8, with or without a byte order mark.

    Args:
        own: it is a file that the trainer makes, so that a link is refused.

    Raises:
        ConfigError: it does not exist, is too long or is not JSON; `hint` says what to do.
    """
    if own:
        check_file(path)
    check_is_file(path)
    try:
        with open_own(path) if own else path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > max_bytes:
        raise ConfigError(f"{path} has more than {max_bytes:,} bytes.", hint)
    try:
        return parse_json(content.decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.", hint) from error


def parse_json(text: str) -> Any:
    """Read JSON.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or has a key twice in one object.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict; raise ValueError if a key occurs twice."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document
