"""Where ComfyUI keeps files, and which of them a graph may name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import folder_paths

from ..trainer.errors import ConfigError


def runs_folder() -> Path:
    """One folder a training, beside the cache."""
    return Path(folder_paths.get_output_directory()) / "dreambooth"


def cache_folder() -> Path:
    return runs_folder() / "cache"


def loras_folder() -> Path:
    """Where new LoRAs go: the first of the folders that ComfyUI lists."""
    return Path(folder_paths.get_folder_paths("loras")[0])


def uploaded_file(name: str) -> Path:
    """The file of an upload widget's value, such as "a.png" or "a.png [output]".

    Raises:
        ConfigError: it lies outside of ComfyUI's folder, or is not there.
    """
    plain, folder = folder_paths.annotated_filepath(name)
    root = Path(folder or folder_paths.get_input_directory()).resolve()
    path = file_within(root, plain)
    if path is None:
        raise ConfigError(f"The photo {name!r:.200} is outside of {root}.", "Upload it.")
    if not is_there(path.is_file):
        raise ConfigError(f"The photo {name!r:.200} is not in {root}.", "Upload it again.")
    return path


def file_within(root: Path, name: str) -> Path | None:
    """Where a name leads, unless out of the folder."""
    plain = PureWindowsPath(name)  # takes "/" and "\\" for separators
    if plain.drive or plain.root or ".." in plain.parts:
        return None
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):  # no name for a file, or links in a circle
        return root / name
    return path if path.is_relative_to(root) else None


def is_network_path(text: str) -> bool:
    """Whether a path leads to another machine.

    Asking Windows whether it is there already sends that machine the user's credentials, and a
    workflow of somebody else's could name any.
    """
    return len(text) > 1 and text[0] in "\\/" and text[1] in "\\/"


def is_there(check: Callable[[], bool]) -> bool:
    """What a path's own check says; a name that no file can have is not there."""
    try:
        return check()
    except (OSError, ValueError):
        return False


def photo_folder(text: str) -> Path:
    """A folder that the user names: absolute, or inside ComfyUI's input folder.

    Raises:
        ConfigError: it is not there, or on another machine.
    """
    root = Path(folder_paths.get_input_directory())
    name = text.strip().strip('"')
    if is_network_path(name):
        raise ConfigError(
            f"folder {name!r:.200} is a network path.",
            "Give the share a drive letter or mount it, or copy the photos to this computer.",
        )
    try:
        path = root / Path(name).expanduser()
    except RuntimeError:  # no such user's home
        path = root / name
    if not is_there(path.is_dir):
        raise ConfigError(
            f"folder: there is no folder {str(path):.200}.",
            f"Give a full path, or the name of a folder in {root}.",
        )
    return path


def model_file(folder: str, name: str) -> Path | None:
    """A file in one of ComfyUI's folders of models, None where it has none of this name."""
    try:
        path = folder_paths.get_full_path(folder, name)
    except (TypeError, ValueError):  # no text, or on Windows another drive
        return None
    return None if path is None else Path(path)


def file_stamp(text: str) -> Any:
    """Size and time of the model or input file that a text names; None if it names none."""
    candidates = [model_file(folder, text) for folder in folder_paths.folder_names_and_paths]
    if not is_network_path(text):
        candidates.append(Path(folder_paths.get_input_directory()) / text)
    for path in candidates:
        if path is not None and is_there(path.exists):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            stats = [(file.name, file.lstat()) for file in files]
            return [(name, status.st_size, status.st_mtime_ns) for name, status in stats]
    return None


def page_image(path: Path) -> dict[str, str]:
    """How the page finds an image below the output folder."""
    folder = path.parent.relative_to(folder_paths.get_output_directory())
    return {"filename": path.name, "subfolder": folder.as_posix(), "type": "output"}
