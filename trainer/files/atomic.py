"""Files that are complete or absent, however the process ends, and names that are used once."""

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
from .own import is_own_file, open_own

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
# While a virus scanner reads a new large file, Windows does not let it be renamed.
PAUSES_SEC = (0.1, 0.2, 0.4, 0.8, 1.6, 3, 6, 10) if sys.platform == "win32" else ()
Result = TypeVar("Result")
Data = bytes | str | Callable[[Path], object]


def write_atomic(path: Path, data: Data) -> None:
    """Write a file completely or not at all; text as UTF-8.

    Args:
        data: the content, or a function that writes it to a path, for what is too large for memory.
    """
    write_by_rename(path, data, Path.replace)


def write_new(path: Path, data: Data) -> None:
    """Write a file completely or not at all, and never over another.

    Raises:
        FileExistsError: the name is already used.
    """
    write_by_rename(path, data, rename_new)


def write_by_rename(path: Path, data: Data, rename: Callable[[Path, Path], object]) -> None:
    partial = path.with_name(partial_name())
    with naming(path):
        try:
            with partial.open("xb") as file:
                if not callable(data):
                    file.write(data.encode() if isinstance(data, str) else data)
            if callable(data):
                mode = partial.stat().st_mode  # safetensors' own files are readable by nobody else
                data(partial)
                partial.chmod(mode)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            patiently(lambda: rename(partial, path))
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)


def partial_name() -> str:
    """Return a new name that shows which process is writing the file."""
    return f".{MARK}-{os.urandom(4).hex()}.partial"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to an error of the disk."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def patiently(action: Callable[[], Result]) -> Result:
    """Retry what another program that reads the file can block for a moment on Windows."""
    for pause in PAUSES_SEC:
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def rename_new(source: Path, target: Path) -> None:
    """Rename, but not over an existing file."""
    if sys.platform == "win32":
        source.rename(target)  # refuses an existing target
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here, as on a memory stick: check, then rename
        if target.exists():
            raise FileExistsError(target) from None
        source.rename(target)


def settle(partial: Path, path: Path) -> None:
    """Flush a file that a library wrote to the disk, and rename it to its final name."""
    with naming(path), partial.open("rb+") as file:
        os.fsync(file.fileno())
    patiently(lambda: partial.replace(path))
    sync_folder(path.parent)


def replace_folder(source: Path, target: Path) -> None:
    """Rename a folder to its final name, so that this survives a power failure."""
    patiently(lambda: source.replace(target))
    sync_folder(target.parent)


def sync_files(folder: Path) -> None:
    """Flush all files in a folder that a library wrote, so that they survive a power failure."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure; Windows and some network folders cannot."""
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def append_lines(path: Path, text: str) -> None:
    """Append whole lines, on a new line if a killed process left half a line.

    Raises:
        ConfigError: the file is a link, or not a file.
    """
    with naming(path), patiently(lambda: open_own(path, "a+b")) as file:
        torn = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        file.write(b"\n" * torn + text.encode())


def remove_leftovers(lock: Lock, folders: Iterable[Path]) -> None:
    """Remove what the lock's previous holder was writing when it was killed, and sign the lock.

    Other processes write in the same folders, so only files with that holder's mark are removed.
    """
    if lock.former:
        made = re.compile(rf"\.{lock.former}-[0-9a-f]+\.partial")
        for folder in folders:
            for partial in folder.glob(f".{lock.former}-*.partial"):
                if made.fullmatch(partial.name) and is_own_file(partial):
                    partial.unlink(missing_ok=True)
    lock.sign(MARK)


def names(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    """Yield the paths stem, stem_2, stem_3, ...; `suffix` includes its dot."""
    yield folder / f"{stem}{suffix}"
    for number in count(2):
        yield folder / f"{stem}_{number}{suffix}"


def write_unique(
    folder: Path,
    stem: str,
    suffix: str,
    content: Callable[[Path], Data],
    companions: Sequence[str] = (),
) -> Path:
    """Write a file under its first free name and return the path, safe among several processes.

    Args:
        content: returns the data for a path, or a function that writes it to another.
        companions: suffixes of files that will be next to it, whose names must be free too.
    """
    for path in names(folder, stem, suffix):
        if not any(path.with_suffix(other).exists() for other in (suffix, *companions)):
            with suppress(FileExistsError):
                write_new(path, content(path))
                return path
    raise AssertionError("names never end")


def numbered(folder: Path, stem: str) -> list[Path]:
    """Return the existing folders stem, stem_2, stem_3, ... in the order of their numbers."""
    own = re.compile(re.escape(stem) + r"(?:_([2-9]|[1-9][0-9]+))?")
    found = [(own.fullmatch(path.name), path) for path in folder.glob("*") if path.is_dir()]
    return [path for _, path in sorted((int(m[1] or 1), path) for m, path in found if m)]


def new_folder(folder: Path, stem: str) -> Path:
    """Create and return the next of the folders stem, stem_2, ..., never another process's.

    Raises:
        ConfigError: the folder cannot be written to.
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
    """Refuse a folder that cannot be written to; it need not exist yet.

    Raises:
        ConfigError: names the setting and says why.
    """
    parents = (folder, *folder.absolute().parents)
    existing: Path | None = folder
    try:
        existing = next((parent for parent in parents if parent.exists()), None)
        if existing is None:
            raise ConfigError(f"{setting}: there is no {folder.anchor}.", "Choose another folder.")
        probe = existing / partial_name()  # tempfile would retry forever where Windows forbids it
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
