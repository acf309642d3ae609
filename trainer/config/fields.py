"""How a setting looks in a form: what its field shows, and how the field is read back."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Any

from .settings import Setting

__all__ = ["NOT_A_NUMBER", "field_default", "field_help", "field_minimum", "from_field", "to_field"]

NOT_A_NUMBER = "empty or not a number"  # read from a number field that holds nothing


def field_default(spec: Setting) -> Any:
    """Return what a setting's field shows at first."""
    return to_field(spec, None if spec.default is MISSING else spec.default)


def field_minimum(spec: Setting) -> float:
    """Return the smallest number that a field takes; 0 stands for none."""
    return 0 if spec.optional or spec.minimum is None else spec.minimum


def field_help(spec: Setting) -> str:
    """Return the help text, with what only a form needs to explain."""
    if spec.type is tuple:
        return f"{spec.help} One per line."
    return f"{spec.help} 0: {spec.none}." if spec.optional and is_number(spec) else spec.help


def to_field(spec: Setting, value: Any) -> Any:
    """Return what a field shows for a value: none as 0 or empty, a list as one item per line."""
    if spec.type is tuple:
        return "\n".join(value or ())
    if value is None:
        return 0 if is_number(spec) else ""
    return value


def from_field(spec: Setting, content: Any) -> Any:
    """Return the value that a field holds, not yet checked.

    An unreadable number is returned as `NOT_A_NUMBER`: the check refuses it where the setting is
    used, so that a field that does not matter for a job does not stop it.
    """
    if is_number(spec):
        if content is None:
            return NOT_A_NUMBER
        return None if spec.optional and content == 0 else content
    if spec.type is tuple and isinstance(content, str):
        return tuple(line.strip() for line in content.splitlines() if line.strip())
    if spec.type is str and isinstance(content, str):
        return content.strip() or (None if spec.optional else "")
    return content


def is_number(spec: Setting) -> bool:
    return spec.type in (int, float)
