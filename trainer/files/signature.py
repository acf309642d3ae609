"""Signatures that show which files this installation wrote itself."""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError
from .atomic import write_atomic, write_new
from .own import open_own

__all__ = ["is_signed", "sign"]

SECRET_BYTES = 32
MAX_SIGNED_BYTES = 10_000_000


def sign(file: Path, signature: Path, secret: Path) -> None:
    """Sign a file; `secret` is a file that only this installation knows, made on first use.

    Where that file cannot be written, nothing is signed: nothing will then be trusted.
    """
    with suppress(OSError):
        if not secret.exists():
            with suppress(FileExistsError):  # another process was first
                write_new(secret, secrets.token_bytes(SECRET_BYTES))
        write_atomic(signature, digest(file, secret))


def is_signed(file: Path, signature: Path, secret: Path) -> bool:
    """Return whether a file is as this installation signed it."""
    try:
        with open_own(signature) as given:
            return hmac.compare_digest(given.read(99), digest(file, secret))
    except (OSError, ConfigError):  # never signed
        return False


def digest(file: Path, secret: Path) -> bytes:
    with open_own(file) as content, secret.open("rb") as key:
        return hmac.digest(key.read(), content.read(MAX_SIGNED_BYTES), "sha256").hex().encode()
