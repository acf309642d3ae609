"""What a file or folder contains, as one short text."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["file_sha256", "model_sha256", "settings_key"]

BLOCK_BYTES = 1 << 22


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered in this process while size and time stay the same."""
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
    """The SHA-256 of a checkpoint file, or of all configs and weights of a diffusers folder."""
    if path.is_file():
        return file_sha256(path)
    files = [file for file in sorted(path.rglob("*")) if file.suffix in (".json", ".safetensors")]
    return settings_key({file.relative_to(path).as_posix(): file_sha256(file) for file in files})


def settings_key(settings: dict[str, Any]) -> str:
    """One short text for a set of plain values, whatever their order."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
