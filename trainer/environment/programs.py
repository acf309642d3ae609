"""Full paths of programs, none of which is searched in the working folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

__all__ = ["find_program", "python_in", "system_folder"]


def find_program(name: str) -> str | None:
    """Return the full path of a program of the system or its drivers; None if it is missing.

    Windows searches the working folder before PATH, so there only its own folder counts. Elsewhere
    relative entries of PATH, which mean the working folder, are left out.
    """
    if sys.platform == "win32":
        file = system_folder() / f"{name}.exe"
        return str(file) if file.is_file() else None
    folders = [folder for folder in os.get_exec_path() if Path(folder).is_absolute()]
    return shutil.which(name, path=os.pathsep.join(folders))


def python_in(folder: Path) -> Path:
    """Return the interpreter of a venv or, on Windows, of a copied embedded Python."""
    if sys.platform != "win32":
        return folder / "bin/python"
    copied = folder / "python.exe"
    return copied if copied.exists() else folder / "Scripts/python.exe"


def system_folder() -> Path:
    """Return the folder in which Windows and its drivers keep programs and libraries."""
    return Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32")
