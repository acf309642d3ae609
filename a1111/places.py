"""The host's folders and checkpoints."""

from __future__ import annotations

from pathlib import Path

from modules import paths, sd_models, shared
from modules.paths_internal import default_output_dir

from .orders import Places

__all__ = ["checkpoints", "current_checkpoint", "loras_folder", "places", "runs_folder"]


def places() -> Places:
    """Return the host's current folders and checkpoints."""
    others = (Path(default_output_dir), Path(paths.models_path), *given_folders("vae_dir"))
    return Places(runs_folder(), loras_folder(), checkpoints(), others)


def given_folders(*options: str) -> list[Path]:
    """Return the folders that options of the host name, where they are set."""
    given = (getattr(shared.cmd_opts, option, None) for option in options)
    return [Path(folder).absolute() for folder in given if folder]


def runs_folder() -> Path:
    """Return the folder that holds one folder per run, and the cache."""
    return Path(default_output_dir).absolute() / "dreambooth"


def loras_folder() -> Path:
    """Return the folder where the host looks for LoRAs."""
    given = getattr(shared.cmd_opts, "lora_dir", None)  # absent without the Lora extension
    return Path(given or Path(paths.models_path, "Lora")).absolute()


def checkpoints() -> dict[str, str]:
    """Return the files of the host's checkpoints, by the names in its list."""
    return {info.name: info.filename for info in sd_models.checkpoints_list.values()}


def current_checkpoint() -> str | None:
    """Return the name of the checkpoint selected in the host, or else of the first one."""
    info = sd_models.checkpoint_aliases.get(shared.opts.sd_model_checkpoint)
    return info.name if info else next(iter(checkpoints()), None)
