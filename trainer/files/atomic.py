"""Files that are whole or not there, whatever ends the process, and names that are given once."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count, dropwhile
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigError
from .lock import Lock

__all__ = [
    "MARK",
    "append_lines",
    "check_writable",
    "names",
    "new_folder",
    "numbered",
    "remove_leftovers",
    "replace_folder",
    "settle",
    "sync_files",
    "write_atomic",
    "write_new",
    "write_unique",
]

MARK = os.urandom(6).hex()  # of this process, in the names of the files that it is writing
# A virus scanner reads what is new and large, and Windows then lets nobody rename it.
PAUSES_SEC = (0.1, 0.2, 0.4, 0.8, 1.6, 3, 6, 10) if sys.platform == "win32" else ()
Result = TypeVar("Result")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8."""
    write_by_rename(path, data, Path.replace)


def write_new(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all, and never over another.

    Raises:
        FileExistsError: the name was taken meanwhile.
    """
    write_by_rename(path, data, rename_new)


def write_by_rename(path: Path, data: bytes | str, rename: Callable[[Path, Path], object]) -> None:
    partial = path.with_name(partial_name())
    with naming(path):
        try:
            with partial.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            patiently(lambda: rename(partial, path))
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)


def partial_name() -> str:
    """A name that tells which process is writing the file."""
    return f".{MARK}-{os.urandom(4).hex()}.partial"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the disk say which file it was about."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def patiently(action: Callable[[], Result]) -> Result:
    """Do what another program can forbid for a moment on Windows, by looking at the file."""
    for pause in PAUSES_SEC:
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def rename_new(source: Path, target: Path) -> None:
    """Rename, but not over a file that is there."""
    if sys.platform == "win32":
        source.rename(target)  # refuses by itself
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here, as on a memory stick: look, then rename
        if target.exists():
            raise FileExistsError(target) from None
        source.rename(target)


def settle(partial: Path, path: Path) -> None:
    """Give a file that someone else's code wrote its final name, once it is on the disk."""
    with naming(path), partial.open("rb+") as file:
        os.fsync(file.fileno())
    patiently(lambda: partial.replace(path))
    sync_folder(path.parent)


def replace_folder(source: Path, target: Path) -> None:
    """Give a folder its final name, for good."""
    patiently(lambda: source.replace(target))
    sync_folder(target.parent)


def sync_files(folder: Path) -> None:
    """Let all files that somebody else's code wrote in a folder outlive a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Let a rename outlive a power cut; Windows and some network folders have no call for it."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def append_lines(path: Path, text: str) -> None:
    """Add whole lines; after half a line, which a killed process may leave, on a new one."""
    with naming(path), patiently(lambda: path.open("a+b")) as file:
        torn = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        file.write(b"\n" * torn + text.encode())


def remove_leftovers(lock: Lock, folders: Iterable[Path]) -> None:
    """Remove what the lock's former holder was writing when it was killed, and sign the lock.

    Other processes write in the same folders, so only files with the former holder's mark go.
    """
    if lock.former:
        for folder in folders:
            for partial in folder.glob(f".{lock.former}-*.partial"):
                partial.unlink(missing_ok=True)
    lock.sign(MARK)


def names(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    """The paths stem, stem_2, stem_3, ...; `suffix` has its dot."""
    yield folder / f"{stem}{suffix}"
    for number in count(2):
        yield folder / f"{stem}_{number}{suffix}"


def write_unique(
    folder: Path,
    stem: str,
    suffix: str,
    content: Callable[[Path], bytes],
    beside: Sequence[str] = (),
) -> Path:
    """Write a file under the first of its names that is free, also among several processes.

    Args:
        content: gives the data for a path.
        beside: suffixes of files that will lie beside it, whose names must be free too.
    """
    for path in names(folder, stem, suffix):
        if not any(path.with_suffix(other).exists() for other in (suffix, *beside)):
            with suppress(FileExistsError):
                write_new(path, content(path))
                return path
    raise AssertionError("names never end")


def numbered(folder: Path, stem: str) -> list[Path]:
    """The folders stem, stem_2, stem_3, ... in the order in which they were made."""
    own = re.compile(re.escape(stem) + r"(?:_([2-9]|[1-9][0-9]+))?")
    found = [(own.fullmatch(path.name), path) for path in folder.glob("*") if path.is_dir()]
    return [path for _, path in sorted((int(m[1] or 1), path) for m, path in found if m)]


def new_folder(folder: Path, stem: str) -> Path:
    """Make the folder that comes after stem, stem_2, ..., never one of another process.

    Raises:
        ConfigError: nothing can be written there.
    """
    check_writable(folder, "run folder")
    folder.mkdir(parents=True, exist_ok=True)
    before = numbered(folder, stem)
    paths = names(folder, stem, "")
    for path in dropwhile(lambda path: before and path != before[-1], paths):
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("names never end")


def check_writable(folder: Path, setting: str) -> None:
    """Refuse a folder in which nothing can be written; it need not exist yet.

    Raises:
        ConfigError: names the setting and the reason.
    """
    parents = (folder, *folder.absolute().parents)
    existing: Path | None = folder
    try:
        existing = next((parent for parent in parents if parent.exists()), None)
        if existing is None:
            raise ConfigError(f"{setting}: there is no {folder.anchor}.", "Choose another folder.")
        probe = existing / partial_name()  # tempfile would try for ever where Windows forbids it
        if existing == folder:
            probe.open("xb").close()
            probe.unlink()
        else:
            probe.mkdir()
            probe.rmdir()
    except OSError as error:
        raise ConfigError(
            f"{setting}: the folder {existing} cannot be written to: {error.strerror}.",
            "Choose another folder, or change its permissions.",
        ) from error
