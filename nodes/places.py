"""ComfyUI's folders, and the files that a graph may name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

import folder_paths

from ..trainer.errors import ConfigError
from ..trainer.files.containment import first_outside
from ..trainer.files.network import is_network_path

__all__ = [
    "cache_folder",
    "check_readable",
    "file_stamp",
    "model_file",
    "page_image",
    "photo_folder",
    "result_folders",
    "results_folder",
    "runs_folder",
    "uploaded_file",
]

# The machine's owner lists further folders under this key of ComfyUI's extra_model_paths.yaml.
LISTED = "dreambooth_images"


def runs_folder() -> Path:
    """Return the folder that holds one folder per run, and the cache."""
    return Path(folder_paths.get_output_directory()) / "dreambooth"


def cache_folder() -> Path:
    """Return the folder of class images and exported models."""
    return runs_folder() / "cache"


def results_folder(method: object) -> Path:
    """Return the folder for what a method of training makes: the first that ComfyUI lists."""
    kind = "checkpoints" if method == "full" else "loras"
    return Path(folder_paths.get_folder_paths(kind)[0])


def result_folders() -> list[Path]:
    """Return the folders that the results of runs are in."""
    kinds = ("loras", "checkpoints")
    return [Path(folder) for kind in kinds for folder in folder_paths.get_folder_paths(kind)]


def uploaded_file(name: str) -> Path:
    """Return the file named by an upload widget, as in "a.png" or "a.png [output]".

    Raises:
        ConfigError: the file is outside ComfyUI's folder, or does not exist.
    """
    plain, folder = folder_paths.annotated_filepath(name)
    root = Path(folder or folder_paths.get_input_directory()).resolve()
    path = file_within(root, plain)
    if path is None:
        raise ConfigError(f"Photo {name!r:.200} is outside {root}.", "Upload it.")
    if not is_there(path.is_file):
        raise ConfigError(f"Photo {name!r:.200} is not in {root}.", "Upload it again.")
    return path


def file_within(root: Path, name: str) -> Path | None:
    """Return the path that a name refers to; None if it is outside the folder."""
    plain = PureWindowsPath(name)  # accepts both "/" and "\\" as separators
    if plain.drive or plain.root or ".." in plain.parts:
        return None
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):  # not a valid file name, or a link loop
        return root / name
    return path if path.is_relative_to(root) else None


def is_there(check: Callable[[], bool]) -> bool:
    """Return the result of a path's own check; False for an invalid file name."""
    try:
        return check()
    except (OSError, ValueError):
        return False


def readable_folders() -> list[Path]:
    """Return the folders that a graph may read: those ComfyUI itself shows to every page, and more.

    Anyone who reaches the server may queue a graph, so the owner's list counts, not the graph.
    """
    shown = (
        folder_paths.get_input_directory(),
        folder_paths.get_output_directory(),
        folder_paths.get_temp_directory(),
    )
    listed, _ = folder_paths.folder_names_and_paths.get(LISTED, ([], set()))
    return [Path(folder) for folder in (*shown, *listed)]


def check_readable(paths: Iterable[Path]) -> None:
    """Refuse paths that are not below a folder that a graph may read, links included.

    Raises:
        ConfigError: names the first of them, and what the machine's owner can do.
    """
    outside = first_outside(paths, readable_folders())
    if outside is not None:
        raise ConfigError(
            f"{str(outside):.300} is outside of the folders that workflows may read.",
            "Add the photos on the node, or move them below "
            f"{folder_paths.get_input_directory()}. The owner of this computer can also list "
            'their folder in ComfyUI\'s extra_model_paths.yaml: a line "photos:", below it the '
            f'indented line "{LISTED}: FULL PATH"; then restart ComfyUI.',
        )


def photo_folder(text: str) -> Path:
    """Return a folder given by the user: a full path, or a name in ComfyUI's input folder.

    Raises:
        ConfigError: the folder does not exist, is a network path, or may not be read.
    """
    root = Path(folder_paths.get_input_directory())
    name = text.strip().strip('"')
    if is_network_path(name):
        raise ConfigError(
            f"folder {name!r:.200} is a network path.",
            "Map the share to a drive letter, mount it, or copy the photos to this computer.",
        )
    try:
        path = root / Path(name).expanduser()
    except RuntimeError:  # "~name" with an unknown user
        path = root / name
    check_readable([path])
    if not is_there(path.is_dir):
        raise ConfigError(
            f"There is no folder {str(path):.200}.",
            f"Set folder to the name of a folder in {root}, or to a full path.",
        )
    return path


def model_file(folder: str, name: str) -> Path | None:
    """Return a file in one of ComfyUI's model folders; None if it does not exist."""
    try:
        path = folder_paths.get_full_path(folder, name)
    except (TypeError, ValueError):  # not text, or another drive on Windows
        return None
    return None if path is None else Path(path)


def file_stamp(text: str) -> Any:
    """Return size and time of the model or input file that a text names; None if it names none."""
    candidates = [model_file(folder, text) for folder in folder_paths.folder_names_and_paths]
    given = Path(folder_paths.get_input_directory()) / text
    if not is_network_path(text) and first_outside([given], readable_folders()) is None:
        candidates.append(given)
    for path in candidates:
        if path is not None and is_there(path.exists):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            stats = [(file.name, file.lstat()) for file in files]
            return [(name, status.st_size, status.st_mtime_ns) for name, status in stats]
    return None


def page_image(path: Path) -> dict[str, str]:
    """Return how the page refers to an image in the output folder."""
    folder = path.parent.relative_to(folder_paths.get_output_directory())
    return {"filename": path.name, "subfolder": folder.as_posix(), "type": "output"}
