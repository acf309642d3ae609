"""Which texts may become file names on every system."""

from __future__ import annotations

import re
import unicodedata

from .errors import ConfigError

MAX_STEM_BYTES = 180  # the name, a suffix and a counter fit every common file system's 255 bytes
RESERVED = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10)
}
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def check_file_stem(stem: str, setting: str) -> None:
    """Refuse a name that is a path, or that some system cannot store.

    Raises:
        ConfigError: names `setting` and the reason.
    """
    reason = bad_stem_reason(stem)
    if reason:
        raise ConfigError(
            f"{setting} {stem!r} {reason}.", "Use a plain name such as my_dog, without a folder."
        )


def bad_stem_reason(stem: str) -> str | None:
    if not stem.strip():
        return "is empty"
    if FORBIDDEN.search(stem):
        return f"contains {FORBIDDEN.findall(stem)[0]!r}"
    if any(unicodedata.category(letter) in ("Cf", "Cs") for letter in stem):
        return "contains an invisible character"
    if stem != stem.strip() or stem.startswith(".") or stem.endswith("."):
        return "starts or ends with a space or dot"
    if stem.split(".")[0].upper() in RESERVED:
        return "is a name that Windows reserves"
    if len(stem.encode()) > MAX_STEM_BYTES:
        return f"is longer than {MAX_STEM_BYTES} bytes"
    return None
