"""Settings of the form as a file, which the terminal's --config reads too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import Any

from ..trainer.config.config import CONCEPTS, flatten, parse_document
from ..trainer.config.fields import NOT_A_NUMBER, from_field
from ..trainer.config.settings import check_value, nearest, parse_value
from ..trainer.errors import ConfigError
from .fields import SETTINGS, SHOWN
from .orders import Places
from .refill import contents

__all__ = ["file_contents", "file_text"]

MAX_CHARACTERS = 1_000_000
GIVE_ONE = "Choose a file that the tab or a training has saved, such as a run's config.json."


def file_text(given: Mapping[str, Any]) -> str:
    """Return the contents of fields as the text of a file, without photos and the result's name.

    Raises:
        ConfigError: a number field holds nothing.
    """
    values = {name: from_field(SETTINGS[name], given[name]) for name in SHOWN if name in given}
    for name, value in values.items():
        if value == NOT_A_NUMBER:
            raise ConfigError(f"{name} is {value!r}.", "Enter a number.")
    base = given.get("base")
    found = {"base": base, **values} if isinstance(base, str) and base else values
    return json.dumps(found, indent=2, ensure_ascii=False)


def file_contents(text: str, places: Places) -> dict[str, Any]:
    """Return the contents of the fields for the text of a file; what it does not set stays.

    Photos, the result's name and, unless the host lists them, other files are not taken from it.

    Raises:
        ConfigError: it is no file of settings, has several subjects, or a value is bad.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError("The file is too large for settings.", GIVE_ONE)
    values = flatten(parse_document(text))
    if CONCEPTS in values:
        raise ConfigError("The file has several subjects.", "The tab trains one at a time.")
    for name in values:
        if name not in SETTINGS:
            raise ConfigError(f"There is no setting {name!r:.80}.", nearest(name, set(SETTINGS)))
    read = {name: read_value(name, values[name]) for name in values if name in SHOWN}
    found = contents(read, lambda _name, path: places.contain(path))
    base = values.get("base")
    names = [name for name in places.checkpoints if isinstance(base, str) and ends(base, name)]
    return {**found, "base": names[0]} if names else found


def read_value(name: str, value: Any) -> Any:
    spec = SETTINGS[name]
    read = parse_value(spec, value)
    check_value(spec, read)
    return read


def ends(base: str, name: str) -> bool:
    """Return whether a base is a listed checkpoint, by its file's name alone."""
    return PureWindowsPath(base).name == PureWindowsPath(name).name
