"""Finds programs of the system by their full paths, never in the working folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

__all__ = ["find_program", "system_folder"]


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


def system_folder() -> Path:
    """Return the folder in which Windows and its drivers keep programs and libraries."""
    return Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32")
