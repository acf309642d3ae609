"""The bundled model, expanded into a folder that any job can use as its base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ...config.model import EMBEDDED
from ...environment.environment import PACK
from ...errors import ConfigError
from ...files.atomic import check_writable, replace_folder, sync_files, write_atomic
from ...files.disk import SPARE_BYTES, free_bytes, size_text
from ...files.lock import locked
from .shipped import WEIGHTS, checked_digest

__all__ = ["EXPANDED", "PACKED", "base_path", "embedded_folder"]

PACKED = WEIGHTS / "model.safetensors"
EXPANDED = PACK / ".embedded"
EXPANDED_BYTES = 150 << 20


def base_path(base: str) -> Path:
    """Return the path of a base: the given path, or the embedded model's folder for its name."""
    return embedded_folder() if base == EMBEDDED else Path(base)


def embedded_folder(packed: Path = PACKED, expanded: Path = EXPANDED) -> Path:
    """Return the embedded model as a diffusers folder, expanded atomically on first use.

    Raises:
        ConfigError: the weights are missing or damaged, or the disk has no space for the folder.
    """
    # User interfaces show the last part of a base's path as its name.
    folder = expanded / checked_digest(packed)[:16] / EMBEDDED
    if is_whole(folder):
        return folder
    check_room(expanded)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(expanded / "lock", waiting=lambda: None):
        if not is_whole(folder):  # another process may have expanded it meanwhile
            make_folder(packed, folder)
    return folder


def is_whole(folder: Path) -> bool:
    """Return whether every file exists with its recorded size."""
    try:
        wanted = json.loads(sizes_file(folder).read_text("utf-8"))
        return all((folder / name).stat().st_size == size for name, size in wanted.items())
    except (OSError, ValueError):
        return False


def sizes_file(folder: Path) -> Path:
    """Return the path of the size list, which is next to the folder and written last."""
    return folder.with_name("sizes.json")


def file_sizes(folder: Path) -> dict[str, int]:
    """Return each file's size in bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def make_folder(packed: Path, folder: Path) -> None:
    from safetensors import SafetensorError

    from ..minisd.pack import expand  # heavy, and rarely needed

    partial = folder.with_name("partial")
    try:
        for former in (partial, folder):  # left by a killed process, or damaged since
            if former.exists():
                shutil.rmtree(former)
        expand(packed, partial)
        sync_files(partial)
        replace_folder(partial, folder)
        write_atomic(sizes_file(folder), json.dumps(file_sizes(folder), indent=2) + "\n")
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk as its own error
        raise ConfigError(
            f"The embedded model cannot be unpacked to {folder}: {error}.",
            f"Check the disk; {size_text(EXPANDED_BYTES)} of free space are needed.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_room(folder: Path) -> None:
    """Raise ConfigError where the folder is not writable or the disk is too full."""
    check_writable(folder, EMBEDDED)
    free, needed = free_bytes(folder), EXPANDED_BYTES + SPARE_BYTES
    if free < needed:
        raise ConfigError(
            f"The embedded model needs {size_text(needed)}, but the disk of {folder} has only "
            f"{size_text(free)} free.",
            "Free up space there.",
        )
