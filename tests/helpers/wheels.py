"""Small packages for a real pip: wheels, source archives, and an index of them."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

__all__ = ["index_of", "make_archive", "make_wheel", "sha256"]


def make_wheel(
    folder: Path, name: str, version: str, requires: Sequence[str] = (), source: str = ""
) -> Path:
    """Write a wheel of one module, whose text is `source`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    description = f"{name}-{version.partition('-')[0]}.dist-info"
    needed = "".join(f"Requires-Dist: {line}\n" for line in requires)
    release = version.partition("-")[0]
    files = {
        f"{name}.py": source,
        f"{description}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n"
        + needed,
        f"{description}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{description}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{description}/RECORD": record}.items():
            wheel.writestr(file, text)
    return path


def make_archive(folder: Path, name: str, version: str, setup: str) -> Path:
    """Write a source archive whose setup.py, which pip would run, is `setup`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.tar.gz"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in (("setup.py", setup), ("PKG-INFO", metadata)):
            entry = tarfile.TarInfo(f"{name}-{version}/{file}")
            entry.size = len(text.encode())
            archive.addfile(entry, BytesIO(text.encode()))
    return path


def index_of(folder: Path) -> str:
    """Write the pages of a package index of a folder's files; return its address."""
    names = {file.name.partition("-")[0] for file in folder.glob("*-*")}
    for name in names:
        page = folder / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        links = [
            f'<a href="{file.as_uri()}#sha256={sha256(file)}">{file.name}</a>'
            for file in folder.glob(f"{name}-*")
        ]
        page.write_text("\n".join(links), "utf-8")
    return (folder / "simple").as_uri()


def sha256(path: Path) -> str:
    """Return a file's checksum as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
