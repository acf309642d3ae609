"""A file that a user gave: opened only where it is a plain file, its JSON read within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError

__all__ = ["check_is_file", "parse_json", "read_object", "unique_keys", "unreadable"]


def check_is_file(path: Path) -> None:
    """Refuse what is no plain file; opening a pipe would wait for ever.

    Raises:
        ConfigError: says what is there instead.
    """
    try:
        found = "file" if path.is_file() else "folder" if path.is_dir() else "other"
        if found == "other" and not path.exists():
            raise ConfigError(f"{path} does not exist.", "Check the path and the file name.")
    except (OSError, ValueError, RuntimeError) as error:  # a bad name, or links in a circle
        raise unreadable(path, error) from error
    if found == "folder":
        raise ConfigError(f"{path} is a folder.", "Give a file in it.")
    if found == "other":
        raise ConfigError(f"{path} is a pipe or device, no file.", "Give a file.")


def unreadable(path: Path, error: Exception) -> ConfigError:
    reason = getattr(error, "strerror", None) or error  # an OSError's text repeats the path
    return ConfigError(f"{path} cannot be read: {reason}.", "Check the path and its permissions.")


def read_object(path: Path, max_bytes: int, hint: str) -> dict[str, Any]:
    """Read a file that holds one JSON object in UTF-8, with or without its mark.

    Raises:
        ConfigError: it is not there, too long, or no JSON object; `hint` says what would do.
    """
    check_is_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) > max_bytes:
        raise ConfigError(f"{path} has more than {max_bytes:,} bytes.", hint)
    try:
        document = parse_json(content.decode("utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{path} is no valid JSON: {error}.", hint) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no JSON object.", hint)
    return document


def parse_json(text: str) -> Any:
    """Read JSON.

    Raises:
        ValueError: it is none, is nested too deeply, or says something twice.
    """
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document
