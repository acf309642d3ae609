"""Hashes that identify the contents of a file, a folder or a set of settings."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["file_sha256", "model_sha256", "settings_key"]

BLOCK_BYTES = 1 << 22


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256, cached in this process while its size and time stay the same."""
    status = path.stat()
    return remembered_sha256(path, status.st_size, status.st_mtime_ns)


@cache
def remembered_sha256(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def model_sha256(path: Path) -> str:
    """Return the SHA-256 of a checkpoint file, or of a diffusers folder's configs and weights."""
    if path.is_file():
        return file_sha256(path)
    files = [file for file in sorted(path.rglob("*")) if file.suffix in (".json", ".safetensors")]
    return settings_key({file.relative_to(path).as_posix(): file_sha256(file) for file in files})


def settings_key(settings: dict[str, Any]) -> str:
    """Return a hash of plain values by name, independent of their order."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
