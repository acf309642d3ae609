"""Locks between processes: a file that its holder keeps locked until it ends, however it ends."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .own import open_own

__all__ = ["Lock", "locked"]

POLL_SEC = 0.2
MARK_LENGTH = 12
MARK = re.compile(f"[0-9a-f]{{{MARK_LENGTH}}}")  # names files to remove, so nothing else may


class Lock:
    """A file that one process at a time holds locked.

    The holder signs it, which shows the next one what a killed process has left behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None
        self.former = ""

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self.file is not None

    def take(self) -> bool:
        """Lock the file, creating it if needed; return False while another process holds it.

        Raises:
            ConfigError: the file is a link, or not a file.
        """
        if self.file is None:
            file = open_own(self.path, "a+b")
            if not try_lock(file.fileno()):
                file.close()
                return False
            file.seek(0)
            self.former, self.file = mark_in(file), file
        return True

    def sign(self, text: str) -> None:
        """Write the holder's mark into the file."""
        assert self.file is not None
        self.file.truncate(0)
        self.file.write(text.encode())
        self.file.flush()

    def release(self) -> None:
        """Unlock the file, which stays."""
        if self.file is not None:
            self.file.close()
            self.file = None


def mark_in(file: BinaryIO) -> str:
    """Return the mark that a lock was signed with; empty if it holds anything else."""
    text = file.read(MARK_LENGTH + 1).decode("ascii", "replace")
    return text if MARK.fullmatch(text) else ""


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[Lock]:
    """Hold a file's lock; `waiting` is called repeatedly while another process holds it."""
    lock = Lock(path)
    while not lock.take():
        waiting()
        time.sleep(POLL_SEC)
    try:
        yield lock
    finally:
        lock.release()


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:  # as below
            return True
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file; return False while another process holds the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # some network folders have no locks: nothing can be known, so continue
            return True
        return True
