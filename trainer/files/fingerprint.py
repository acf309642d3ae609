"""Hashes that identify the contents of a file, a folder or a set of settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["file_sha256", "model_sha256", "settings_key"]

BLOCK_BYTES = 1 << 22
known: dict[tuple[Path, int, int], str] = {}  # by path, size and time


def file_sha256(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Return a file's SHA-256, cached in this process while its size and time stay the same.

    Args:
        check: called every few MiB; raises to give up.
    """
    status = path.stat()
    key = (path, status.st_size, status.st_mtime_ns)
    if key not in known:
        known[key] = read_sha256(path, check)
    return known[key]


def read_sha256(path: Path, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            check()
            digest.update(block)
    return digest.hexdigest()


def model_sha256(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 of a checkpoint file, or of a diffusers folder's configs and weights."""
    if path.is_file():
        return file_sha256(path, check)
    files = [file for file in sorted(path.rglob("*")) if file.suffix in (".json", ".safetensors")]
    sums = {file.relative_to(path).as_posix(): file_sha256(file, check) for file in files}
    return settings_key(sums)


def settings_key(settings: dict[str, Any]) -> str:
    """Return a hash of plain values by name, independent of their order."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
