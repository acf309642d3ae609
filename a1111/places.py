"""Where the host keeps files, and which checkpoints it has."""

from __future__ import annotations

from pathlib import Path

from modules import paths, sd_models, shared
from modules.paths_internal import default_output_dir

from .orders import Places


def places() -> Places:
    """The host's folders as they are now."""
    return Places(runs_folder(), loras_folder(), checkpoints())


def runs_folder() -> Path:
    """One folder a training, beside the cache."""
    return Path(default_output_dir).absolute() / "dreambooth"


def loras_folder() -> Path:
    """Where the host looks for LoRAs."""
    given = getattr(shared.cmd_opts, "lora_dir", None)  # unknown without the host's Lora extension
    return Path(given or Path(paths.models_path, "Lora")).absolute()


def checkpoints() -> dict[str, str]:
    """The files of the host's list by the names that it shows."""
    return {info.name: info.filename for info in sd_models.checkpoints_list.values()}


def present_checkpoint() -> str | None:
    """The one that the host draws with, else the first."""
    info = sd_models.checkpoint_aliases.get(shared.opts.sd_model_checkpoint)
    return info.name if info else next(iter(checkpoints()), None)
