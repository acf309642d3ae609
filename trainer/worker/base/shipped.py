"""The weights that come with the trainer, each file with its SHA-256 beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...errors import ConfigError
from ...files.atomic import write_atomic
from ...files.fingerprint import file_sha256

WEIGHTS = Path(__file__).parents[1] / "minisd" / "weights"
GET_AGAIN = "Get this folder of the trainer again, whole: trainer/worker/minisd/weights."


def checked_digest(file: Path) -> str:
    """A file's SHA-256, held against the one that is written beside it.

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
    """Write weights, and their SHA-256 beside them."""
    write_atomic(file, data)
    write_atomic(file.with_suffix(".sha256"), hashlib.sha256(data).hexdigest() + "\n")
