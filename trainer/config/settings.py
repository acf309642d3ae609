"""Settings: type, bounds and help text, and how a value is read and checked."""

from __future__ import annotations

import difflib
import math
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, Literal

from ..errors import ConfigError

__all__ = [
    "Setting",
    "check_text",
    "check_value",
    "describe",
    "nearest",
    "parse_value",
    "setting",
    "settings_of",
]

MAX_TEXT = 8192  # characters; a text encoder reads about 400 of a prompt, a path has up to 4096
UNFIT = re.compile(r"[\x00\ud800-\udfff]")  # NUL and lone surrogates: in no path or prompt


@dataclass(frozen=True)
class Setting:
    """One setting as user interfaces and the terminal see it.

    Args:
        type: the value's plain type: str, int, float, bool or tuple (of str).
        choices: the allowed strings, if they are few.
        minimum: smallest allowed value, included; `above` is excluded.
        none: what the absence of a value is called, such as "auto".
        most: how many texts a list may have.
        advanced: shown under "advanced" in user interfaces.
    """

    name: str
    type: type
    default: Any
    help: str
    optional: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    multiple_of: int | None = None
    none: str = "none"
    most: int | None = None
    advanced: bool = False

    @property
    def required(self) -> bool:
        """Whether the setting has no default."""
        return self.default is MISSING

    @property
    def flag(self) -> str:
        """The setting's flag on the command line."""
        return "--" + self.name.replace("_", "-")


def setting(default: Any = MISSING, *, help: str, **details: Any) -> Any:
    """Return a dataclass field that carries the help text and bounds of a `Setting`."""
    return field(default=default, metadata={"help": help, **details})


@cache
def settings_of(group: type) -> tuple[Setting, ...]:
    """Return the settings of one config dataclass, in order."""
    hints = typing.get_type_hints(group)
    return tuple(read_field(spec, hints[spec.name]) for spec in fields(group))


def read_field(spec: Field[Any], hint: Any) -> Setting:
    optional = False
    if isinstance(hint, types.UnionType):
        hint, optional = next(t for t in typing.get_args(hint) if t is not type(None)), True
    choices: tuple[str, ...] = ()
    if typing.get_origin(hint) is Literal:
        choices, hint = typing.get_args(hint), str
    plain = typing.get_origin(hint) or hint
    return Setting(
        spec.name, plain, spec.default, optional=optional, choices=choices, **spec.metadata
    )


def parse_value(spec: Setting, value: Any) -> Any:
    """Read a string or a JSON value as the setting's own type; other types are left to the check.

    Raises:
        ConfigError: the string cannot be read as that type.
    """
    if value is None or (spec.optional and value in ("", "none", spec.none)):
        return None
    if spec.type is tuple:
        return (value,) if isinstance(value, str) else tuple(value) if is_list(value) else value
    try:
        if spec.type is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, str) or spec.type is str:
            return value
        return parse_bool(value) if spec.type is bool else spec.type(value)
    except (ValueError, OverflowError):
        raise bad_value(spec, value) from None


def bad_value(spec: Setting, value: Any) -> ConfigError:
    return ConfigError(f"{spec.name} is {value!r:.80}.", f"Give {describe(spec)}.")


def is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def parse_bool(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def check_value(spec: Setting, value: Any) -> None:
    """Raise ConfigError if a value has the wrong type or is outside the setting's bounds."""
    if value is None and spec.optional:
        return
    if not has_type(spec, value) or not within_bounds(spec, value):
        raise bad_value(spec, value)
    if spec.most is not None and isinstance(value, tuple) and len(value) > spec.most:
        raise ConfigError(
            f"{spec.name} has {len(value):,} entries.", f"Give at most {spec.most:,}."
        )
    for text in texts_of(spec, value):
        check_text(spec.name, text)


def texts_of(spec: Setting, value: Any) -> tuple[str, ...]:
    return value if spec.type is tuple else (value,) if spec.type is str else ()


def check_text(name: str, text: str) -> None:
    """Raise ConfigError for a text that is too long or contains characters that fit nowhere."""
    if len(text) > MAX_TEXT:
        raise ConfigError(f"{name} has {len(text):,} characters.", f"Give at most {MAX_TEXT:,}.")
    if found := UNFIT.search(text):
        raise ConfigError(
            f"{name} contains {found.group()!r}, which is not a valid character.",
            "Type it again; rename a file whose name has such bytes.",
        )


def has_type(spec: Setting, value: Any) -> bool:
    if spec.type is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if spec.type is float:
        return isinstance(value, float) and math.isfinite(value)
    return type(value) is spec.type


def within_bounds(spec: Setting, value: Any) -> bool:
    return (
        (not spec.choices or value in spec.choices)
        and (spec.minimum is None or value >= spec.minimum)
        and (spec.maximum is None or value <= spec.maximum)
        and (spec.above is None or value > spec.above)
        and (spec.multiple_of is None or value % spec.multiple_of == 0)
    )


def describe(spec: Setting) -> str:
    """Return in words which values a setting takes."""
    if spec.choices:
        return "one of " + ", ".join(spec.choices)
    names = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        tuple: "a list of strings",
    }
    parts = [names.get(spec.type, "a string")]
    if spec.multiple_of is not None:
        parts.append(f"a multiple of {spec.multiple_of}")
    if spec.above is not None:
        parts.append(f"above {spec.above:g}")
    if spec.minimum is not None:
        parts.append(f"at least {spec.minimum:g}")
    if spec.maximum is not None:
        parts.append(f"at most {spec.maximum:g}")
    return ", ".join(parts) + (f", or {spec.none}" if spec.optional else "")


def nearest(name: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return the hint for an unknown name: the known name most like it.

    Args:
        otherwise: the hint if none is like it; empty: all known names.
    """
    known = sorted(known)
    close = difflib.get_close_matches(name[:80], known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return otherwise or "Known names: " + ", ".join(known) + "."
