"""Where ComfyUI keeps files, and which of them a graph may name."""

from __future__ import annotations

from pathlib import Path
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
    path = (root / plain).resolve()
    if not path.is_relative_to(root):
        raise ConfigError(f"The photo {name!r} is outside of {root}.", "Upload it.")
    if not path.is_file():
        raise ConfigError(f"The photo {name!r} is not in {root}.", "Upload it again.")
    return path


def photo_folder(text: str) -> Path:
    """A folder that the user names: absolute, or inside ComfyUI's input folder."""
    root = Path(folder_paths.get_input_directory())
    path = root / Path(text.strip().strip('"')).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"folder: there is no folder {path}.",
            f"Give a full path, or the name of a folder in {root}.",
        )
    return path


def model_file(folder: str, name: str) -> Path | None:
    path = folder_paths.get_full_path(folder, name)
    return None if path is None else Path(path)


def file_stamp(text: str) -> Any:
    """Size and time of the model or input file that a text names; None if it names none."""
    candidates = [model_file(folder, text) for folder in folder_paths.folder_names_and_paths]
    candidates.append(Path(folder_paths.get_input_directory()) / text)
    for path in candidates:
        if path is not None and path.exists():
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return None


def page_image(path: Path) -> dict[str, str]:
    """How the page finds an image below the output folder."""
    folder = path.parent.relative_to(folder_paths.get_output_directory())
    return {"filename": path.name, "subfolder": folder.as_posix(), "type": "output"}
