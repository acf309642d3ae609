"""The model that ships with the trainer, as a folder that any job can use as its base."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...config import EMBEDDED
from ...disk import SPARE_BYTES, free_bytes, size_text
from ...environment import PACK
from ...errors import ConfigError
from ...files import check_writable, replace_folder, sync_files
from ...lock import locked
from .shipped import WEIGHTS, checked_digest

PACKED = WEIGHTS / "model.safetensors"
EXPANDED = PACK / ".embedded"
EXPANDED_BYTES = 150 << 20


def base_path(base: str) -> Path:
    """Where a base lies: a path as it is given, or the embedded model by its name."""
    return embedded_folder() if base == EMBEDDED else Path(base)


def embedded_folder(packed: Path = PACKED, expanded: Path = EXPANDED) -> Path:
    """The embedded model as a diffusers folder; expanded once, whole or not at all.

    Raises:
        ConfigError: the weights are missing or damaged, or there is no room for the folder.
    """
    # The last part of the path is the base's name wherever it is shown.
    folder = expanded / checked_digest(packed)[:16] / EMBEDDED
    if folder.is_dir():
        return folder
    check_room(expanded)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(expanded / "lock", waiting=lambda: None):
        if not folder.is_dir():  # another process may have made it meanwhile
            make_folder(packed, folder)
    return folder


def make_folder(packed: Path, folder: Path) -> None:
    from .pack import expand  # heavy, and rarely needed

    partial = folder.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        expand(packed, partial)
        sync_files(partial)
        replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_room(folder: Path) -> None:
    """Refuse a folder that cannot be written to, or a disk that is too full."""
    check_writable(folder, EMBEDDED)
    free, needed = free_bytes(folder), EXPANDED_BYTES + SPARE_BYTES
    if free < needed:
        raise ConfigError(
            f"The disk of {folder} has {size_text(free)} free, and the embedded model needs "
            f"{size_text(needed)}.",
            "Free space there.",
        )
