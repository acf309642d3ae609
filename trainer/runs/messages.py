"""Frozen dataclasses as lines of JSON, and back with the type of every field checked."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from ..files.input_file import parse_json

__all__ = ["Message", "by_name", "from_line", "to_line"]


class Message(Protocol):
    """A frozen dataclass; `name` is what its kind is called in a line."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Kind = TypeVar("Kind", bound=Message)


def by_name(*kinds: type[Kind]) -> dict[str, type[Kind]]:
    """Return the kinds of messages by their names."""
    return {kind.name: kind for kind in kinds}


def to_line(message: Message, tag: str) -> str:
    """Write a message as one line of JSON without the line break.

    Args:
        tag: the key of the message's name.
    """
    line = json.dumps({tag: message.name, **dataclasses.asdict(message)}, ensure_ascii=False)
    return line.encode(errors="backslashreplace").decode()  # JSON's own escape of half a character


def from_line(line: str, tag: str, kinds: Mapping[str, type[Kind]]) -> Kind:
    """Read a line that `to_line` wrote; fields that a newer version added are dropped.

    Raises:
        ValueError: the line is not a JSON object of one of the kinds.
    """
    document = parse_json(line)
    kind = kinds.get(str(document.get(tag))) if isinstance(document, dict) else None
    if kind is None:
        raise ValueError(f"not a known {tag}: {line[:200]}")
    hints = field_hints(kind)
    values = {key: value for key, value in document.items() if key in hints}
    if len(values) != len(hints) or not all(fits(values[key], hints[key]) for key in values):
        raise ValueError(f"not a complete {tag}: {line[:200]}")
    return kind(**values)


@cache
def field_hints(kind: type[Message]) -> dict[str, Any]:
    """Return the type of every field of a kind of message."""
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in (spec.name for spec in dataclasses.fields(kind))}


def fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value has a field's type, so that whoever uses it need not check."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is UnionType:
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is Mapping:
        return isinstance(value, dict) and all(fits(item, parts[1]) for item in value.values())
    if origin is Sequence:
        return isinstance(value, list) and all(fits(item, parts[0]) for item in value)
    if type(value) is int:
        return hint in (int, float) and abs(value) < 2**63
    if type(value) is float:
        return hint is float and math.isfinite(value)
    return type(value) is hint
