"""Disk space: checked before it is needed, and recognized when it runs out."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError

__all__ = ["SPARE_BYTES", "check_space", "free_bytes", "is_full", "require_space", "size_text"]

FULL = (errno.ENOSPC, errno.EDQUOT)
SPARE_BYTES = 4 << 20  # for events, plots, previews and the file system's own metadata
MIB, GIB = 1 << 20, 1 << 30


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or a quota on it, is full."""
    return isinstance(error, OSError) and error.errno in FULL


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(existing(folder)).free


def require_space(folder: Path, num_bytes: int) -> None:
    """Fail as a write to a full disk does, before anything is written.

    Raises:
        OSError: ENOSPC, with the folder's name.
    """
    if free_bytes(folder) < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def check_space(needs: Sequence[tuple[Path, int]]) -> None:
    """Refuse a run that the disks have no space for.

    Args:
        needs: folders, and the bytes that will be written to each.

    Raises:
        ConfigError: names the folder, the free space and the space needed.
    """
    by_disk: dict[int, int] = {}
    for folder, num_bytes in needs:
        disk = existing(folder).stat().st_dev
        by_disk[disk] = by_disk.get(disk, SPARE_BYTES) + num_bytes
        if free_bytes(folder) < by_disk[disk]:
            raise ConfigError(
                f"The disk of {folder} has {size_text(free_bytes(folder))} free, and the run needs "
                f"about {size_text(by_disk[disk])}.",
                "Free space there or choose another folder; a lower checkpoints_total_limit or "
                "rank needs less space.",
            )


def existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def size_text(num_bytes: int) -> str:
    """Return a number of bytes in MiB or GiB."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.0f} MiB"
