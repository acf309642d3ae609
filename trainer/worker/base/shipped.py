"""The weights that ship with the trainer; each file has its SHA-256 next to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...errors import ConfigError
from ...files.atomic import write_atomic
from ...files.fingerprint import file_sha256

__all__ = ["WEIGHTS", "checked_digest", "write_weights"]

WEIGHTS = Path(__file__).parents[1] / "minisd" / "weights"
GET_AGAIN = "Restore the folder trainer/worker/minisd/weights from a fresh copy of the trainer."


def checked_digest(file: Path) -> str:
    """Return a file's SHA-256, checked against the one stored next to it.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    try:
        found = file_sha256(file)
        wanted = file.with_suffix(".sha256").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The embedded model cannot be read: {error}.", GET_AGAIN) from error
    if found != wanted:
        raise ConfigError(f"The embedded model's weights {file} are damaged.", GET_AGAIN)
    return found


def write_weights(file: Path, data: bytes) -> None:
    """Write weights, with their SHA-256 next to them."""
    write_atomic(file, data)
    write_atomic(file.with_suffix(".sha256"), hashlib.sha256(data).hexdigest() + "\n")
