"""From the tab's fields to the worker's orders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..trainer.config.concept import InstanceConfig, PriorConfig
from ..trainer.config.config import Config, read_config_file, read_group
from ..trainer.config.fields import from_field
from ..trainer.config.names import check_file_stem
from ..trainer.errors import ConfigError
from ..trainer.files.atomic import new_folder
from ..trainer.model_files.identify import require_base
from ..trainer.photos.images import find_photos
from ..trainer.runs.orders import Compare, MakeClassImages, Train
from ..trainer.runs.run import Run
from . import photos
from .fields import SETTINGS
from .jobs import Job

WORK = ".work"  # where jobs that are no training keep their log; no run can have this name
COMPARED = 3  # pictures before and after


@dataclass(frozen=True)
class Places:
    """The host's folders, and its checkpoints by the names that its own lists show."""

    runs: Path
    loras: Path
    checkpoints: Mapping[str, str]

    @property
    def uploads(self) -> Path:
        return self.runs / "cache" / "photos"


@dataclass(frozen=True)
class Form:
    """What the tab's fields hold when a button is pressed."""

    uploads: Sequence[Path]
    folder: str
    base: str
    name: str
    values: Mapping[str, Any]

    def settings(self) -> dict[str, Any]:
        return {name: from_field(SETTINGS[name], value) for name, value in self.values.items()}


def base_path(places: Places, name: str, vae: str | None) -> str:
    """The file of a checkpoint in the host's list, which must be one that can be trained.

    Args:
        vae: a file that replaces the checkpoint's own VAE.

    Raises:
        ConfigError: there is none, or it is something else.
    """
    if not places.checkpoints:
        hint = "Put a .safetensors file of SD 1.x, 2.x or SDXL into models/Stable-diffusion."
        raise ConfigError("There is no checkpoint.", f"{hint} Then press the refresh button.")
    if name not in places.checkpoints:
        raise ConfigError(f"There is no checkpoint {name!r:.200}.", "Choose one from the list.")
    require_base(places.checkpoints[name], vae_given=bool(vae))
    return places.checkpoints[name]


def instance_config(form: Form, places: Places) -> InstanceConfig:
    """The photos and how they are cropped."""
    return read_group(InstanceConfig, {**form.settings(), "instance_images": sources(form, places)})


def sources(form: Form, places: Places) -> tuple[str, ...]:
    """The folder that the user names, else the uploads in a folder of their own."""
    named = form.folder.strip().strip('"')
    if not named:
        return (str(photos.keep(form.uploads, places.uploads)),)
    folder = Path(named).expanduser()
    if not folder.is_absolute() or not folder.is_dir():
        raise ConfigError(f"There is no folder {named!r:.200}.", "Give a full path.")
    return (str(folder),)


def train_job(form: Form, places: Places) -> Job:
    """A new training.

    Raises:
        ConfigError: what is missing or wrong in the fields.
    """
    name = form.name.strip().removesuffix(".safetensors")
    check_file_stem(name, "name")
    settings = form.settings()
    config = Config.from_values(
        {
            **settings,
            "base": base_path(places, form.base, settings.get("vae")),
            "instance_images": sources(form, places),
            "output": str(places.loras / f"{name}.safetensors"),
        }
    )
    find_photos(config.concepts[0].instance.instance_images)
    run = Run(new_folder(places.runs, name))
    output = str(places.loras / f"{run.folder.name}.safetensors")  # the run's own, with its number
    config = replace(config, result=replace(config.result, output=output))
    return training(run, config, resume=False)


def resume_job(run: Run) -> Job:
    """A stopped training once more, with the settings that it had."""
    return training(run, Config.from_values(read_config_file(run.config)), resume=True)


def training(run: Run, config: Config, *, resume: bool) -> Job:
    return Job("train", run.folder.name, Train(str(run.folder), config.to_dict(), resume))


def class_images_job(form: Form, places: Places) -> Job:
    """Class images alone, which later trainings with the same settings use."""
    settings = form.settings()
    if not read_group(PriorConfig, settings).enabled:
        raise ConfigError("There is no class prompt.", 'Name the class, as in "a photo of a dog".')
    settings["base"] = base_path(places, form.base, settings.get("vae"))
    return Job("class_images", "class images", MakeClassImages(work_folder(places), settings))


def compare_job(run: Run, lora: Path, places: Places) -> Job:
    """Images of a run's prompts without and with its LoRA."""
    folder = run.folder / "compare"
    shutil.rmtree(folder, ignore_errors=True)
    config = Config.from_values(read_config_file(run.config)).to_dict()
    order = Compare(work_folder(places), config, str(lora), COMPARED, str(folder))
    return Job("compare", run.folder.name, order)


def work_folder(places: Places) -> str:
    folder = places.runs / WORK
    shutil.rmtree(folder, ignore_errors=True)
    return str(folder)
