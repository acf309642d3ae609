"""Flags of the terminal's commands, most of them built from the config's settings."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..config.config import all_settings
from ..config.settings import Setting
from ..errors import ConfigError

__all__ = [
    "CACHE",
    "ESSENTIAL",
    "EXAMPLE",
    "RUNS",
    "add_events",
    "add_settings",
    "assignments",
    "at_least",
    "finite",
    "given_values",
]

RUNS = Path("runs")
CACHE = RUNS / "cache"
# What the short help of `train` shows.
ESSENTIAL = {
    "required": ("--base", "--instance-images", "--instance-prompt", "--output"),
    "recommended": ("--class-prompt", "--preset"),
}
EXAMPLE = """  python dreambooth.py {} --base sd15.safetensors --instance-images photos/ \\
      --instance-prompt "a photo of sks dog" --class-prompt "a photo of a dog" \\
      --output my_dog.safetensors"""


def at_least(smallest: int) -> Callable[[str], int]:
    """Return a function with which argparse reads a whole number with a lower bound."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {smallest}")
        return int(text)

    return read


def finite(text: str) -> float:
    """Read a number that is neither infinite nor NaN, for argparse."""
    if not math.isfinite(float(text)):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return float(text)


def add_events(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--events`."""
    parser.add_argument("--events", action="store_true", help="print events as lines of JSON")


def add_settings(section: Any, specs: Iterable[Setting]) -> None:
    """Add one flag per setting; only those that are given are in the options."""
    for spec in specs:
        shape: dict[str, Any] = {}
        if spec.type is tuple:
            shape["nargs"] = "+"
        elif spec.type is bool:
            shape = {"nargs": "?", "const": "true"}
        default = "" if spec.required or spec.default in ("", ()) else f" (default: {spec.default})"
        section.add_argument(
            spec.flag,
            dest=spec.name,
            default=argparse.SUPPRESS,
            metavar="|".join(spec.choices) or spec.name.rpartition("_")[2].upper(),
            help=(spec.help + default).replace("%", "%%"),
            **shape,
        )


def assignments(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Return the values of texts such as name=value.

    Raises:
        ConfigError: a text has no "=".
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {text!r:.200} has no '='.", f"Write {flag} name=value.")
        found[name.strip()] = value
    return found


def given_values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    names = {spec.name for _, spec in all_settings()}
    return {name: value for name, value in vars(options).items() if name in names}
