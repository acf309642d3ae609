"""Checks that a name is valid as a file name on every system."""

from __future__ import annotations

import re
import unicodedata

from ..errors import ConfigError

__all__ = ["check_file_stem"]

MAX_STEM_BYTES = 180  # the name, a suffix and a counter fit every common file system's 255 bytes
RESERVED = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{n}" for port in ("COM", "LPT") for n in "0123456789¹²³"
}
SHARED = "cache"  # the folder next to the runs, which are named after their output
INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, format marks, lone surrogates, line ends
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')


def check_file_stem(stem: str, setting: str) -> None:
    """Refuse a name that is a path or that some system cannot store.

    Raises:
        ConfigError: names `setting` and says why.
    """
    reason = bad_stem_reason(stem)
    if reason:
        raise ConfigError(
            f"{setting} {stem!r:.99} {reason}.",
            "Use a plain name such as my_dog, without a folder.",
        )


def bad_stem_reason(stem: str) -> str | None:
    if not stem.strip():
        return "is empty"
    if FORBIDDEN.search(stem):
        return f"contains {FORBIDDEN.findall(stem)[0]!r}"
    if any(unicodedata.category(letter) in INVISIBLE for letter in stem):
        return "contains an invisible character"
    if stem != stem.strip() or stem.startswith(".") or stem.endswith("."):
        return "starts or ends with a space or dot"
    if stem.split(".")[0].rstrip().upper() in RESERVED:
        return "is a name that Windows reserves"
    if stem.casefold() == SHARED:
        return "is reserved for the folder that all runs share"
    if len(stem.encode()) > MAX_STEM_BYTES:
        return f"is longer than {MAX_STEM_BYTES} bytes"
    return None
