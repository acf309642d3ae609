"""The host's folders and checkpoints."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path, PureWindowsPath
from typing import Any

from modules import paths, sd_models, shared
from modules.paths_internal import default_output_dir

from ..trainer.errors import ConfigError
from ..trainer.files.containment import is_below
from .orders import Places
from .reach import Reach

__all__ = [
    "checkpoints", "current_checkpoint", "loras_folder", "places", "result_folders", "runs_folder",
    "uploaded_file",
]  # fmt: skip


def places() -> Places:
    """Return the host's current folders and checkpoints."""
    others = (Path(default_output_dir), Path(paths.models_path), *given_folders("vae_dir"))
    return Places(runs_folder(), loras_folder(), models_folder(), checkpoints(), reach(), others)


def result_folders() -> list[Path]:
    """Return the folders that the results of runs are in."""
    return [loras_folder(), models_folder()]


def given_folders(*options: str) -> list[Path]:
    """Return the folders that options of the host name, where they are set."""
    given = (getattr(shared.cmd_opts, option, None) for option in options)
    return [Path(folder).absolute() for folder in given if folder]


def reach() -> Reach:
    """Return what the tab's fields may name.

    A host that only this machine can reach lets its page install extensions, so there the page is
    for its owner. Otherwise it may read what the host's own server hands out.
    """
    options = shared.cmd_opts
    shown = tuple(Path(folder) for folder in options.gradio_allowed_path)
    return Reach(not options.hide_ui_dir_config, shown if options.webui_is_non_local else None)


def uploaded_file(file: Any) -> Path:
    """Return a file of the upload field.

    gradio 3 copies any file that a request names, and tells its path as `orig_name`.

    Raises:
        ConfigError: the file was not uploaded.
    """
    path = getattr(file, "name", file)
    given = getattr(file, "orig_name", path)
    if not is_below(Path(given), [upload_folder()]):
        name = PureWindowsPath(given).name
        raise ConfigError(f"{name!r:.99} was not uploaded.", "Add it to the field again.")
    return Path(path)


def upload_folder() -> Path:
    """Return where gradio keeps uploads."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir(), "gradio"))


def runs_folder() -> Path:
    """Return the folder that holds one folder per run, and the cache."""
    return Path(default_output_dir).absolute() / "dreambooth"


def loras_folder() -> Path:
    """Return the folder where the host looks for LoRAs."""
    given = getattr(shared.cmd_opts, "lora_dir", None)  # absent without the Lora extension
    return Path(given or Path(paths.models_path, "Lora")).absolute()


def models_folder() -> Path:
    """Return the folder where the host looks for checkpoints."""
    return Path(shared.cmd_opts.ckpt_dir or sd_models.model_path).absolute()


def checkpoints() -> dict[str, str]:
    """Return the files of the host's checkpoints, by the names in its list."""
    return {info.name: info.filename for info in sd_models.checkpoints_list.values()}


def current_checkpoint() -> str | None:
    """Return the name of the checkpoint selected in the host, or else of the first one."""
    info = sd_models.checkpoint_aliases.get(shared.opts.sd_model_checkpoint)
    return info.name if info else next(iter(checkpoints()), None)
