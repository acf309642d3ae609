"""Turns the tab's fields into orders for the worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..trainer.config.concept import InstanceConfig, PriorConfig
from ..trainer.config.config import Config, read_group
from ..trainer.config.drawing import require_class_images
from ..trainer.config.fields import from_field
from ..trainer.config.names import check_file_stem
from ..trainer.config.settings import check_value
from ..trainer.errors import ConfigError
from ..trainer.files.atomic import new_folder
from ..trainer.files.network import lies_in
from ..trainer.files.own import remove
from ..trainer.model_files.identify import require_base, usual_side
from ..trainer.prompts.identifiers import noun_of, own_words
from ..trainer.runs.events import read_events
from ..trainer.runs.orders import Compare, MakeClassImages, RateWords, Train
from ..trainer.runs.origin import own_config
from ..trainer.runs.run import Run
from ..trainer.runs.view import View
from .fields import PATHS, SETTINGS, WORDS
from .jobs import Job
from .reach import Reach
from .sheet import images_per_prompt

__all__ = [
    "Form",
    "Places",
    "class_images_job",
    "compare_job",
    "identifiers_job",
    "instance_config",
    "resume_job",
    "train_config",
    "train_job",
]

WORK = ".work"  # logs of jobs other than trainings; no run can have this name
PUT_HERE = (
    "Train anew with your own files, or copy these into the host's folders and name them in "
    "the run's config.json."
)
PROPOSED = 8  # identifiers


@dataclass(frozen=True)
class Places:
    """The host's folders, and its checkpoints by the names it lists them under.

    Args:
        loras: for new LoRAs; `models` is for new checkpoints.
        reach: which other files the tab's fields may name.
        others: the host's further folders of images and models.
    """

    runs: Path
    loras: Path
    models: Path
    checkpoints: Mapping[str, str]
    reach: Reach
    others: Sequence[Path] = ()

    def contain(self, path: str) -> bool:
        """Return whether a path is one of the host's own, by its text alone."""
        listed = path in self.checkpoints.values()
        return listed or lies_in(path, [self.runs, self.loras, self.models, *self.others])

    @property
    def uploads(self) -> Path:
        """Where copies of uploaded photos are kept."""
        return self.runs / "cache" / "photos"

    def results(self, method: object) -> Path:
        """The folder where the host looks for what a method of training makes."""
        return self.models if method == "full" else self.loras


@dataclass(frozen=True)
class Form:
    """The contents of the tab's fields when a button is clicked."""

    uploads: Sequence[Path]
    folder: str
    base: str
    name: str
    values: Mapping[str, Any]

    def settings(self, reach: Reach) -> dict[str, Any]:
        """Return the fields as values of settings, of which only the paths are checked yet.

        Raises:
            ConfigError: a field names a file that it may not name.
        """
        values = {name: from_field(SETTINGS[name], value) for name, value in self.values.items()}
        for name in PATHS:
            if isinstance(values.get(name), str):
                reach.check(name, values[name])
        return values


def base_path(places: Places, name: str, vae: str | None) -> str:
    """Return the file of a listed checkpoint.

    Args:
        vae: a file that replaces the checkpoint's own VAE.

    Raises:
        ConfigError: there is no such checkpoint, or it cannot be trained.
    """
    if not places.checkpoints:
        hint = "Put a .safetensors file of SD 1.x, 2.x or SDXL into models/Stable-diffusion."
        raise ConfigError("No checkpoint found.", f"{hint} Then click the refresh button.")
    if name not in places.checkpoints:
        raise ConfigError(f"There is no checkpoint {name!r:.200}.", "Choose one from the list.")
    require_base(places.checkpoints[name], vae_given=bool(vae))
    return places.checkpoints[name]


def instance_config(form: Form, places: Places) -> InstanceConfig:
    """Return the settings of the photos.

    Raises:
        ConfigError: there are no photos, or a setting is invalid.
    """
    settings = form.settings(places.reach)
    config = read_group(InstanceConfig, {**settings, "instance_images": sources(form, places)})
    if config.resolution is None and form.base in places.checkpoints:
        side = usual_side(require_base(places.checkpoints[form.base], vae_given=True))
        return replace(config, resolution=side)
    return config


def sources(form: Form, places: Places) -> tuple[str, ...]:
    """Return the given folder, or else a folder with copies of the uploads."""
    named = form.folder.strip().strip('"')
    if not named:
        from . import photos  # here, to keep the host's start fast

        return (str(photos.keep(form.uploads, places.uploads)),)
    folder = Path(named).expanduser()
    places.reach.check("folder", str(folder))
    if not folder.is_absolute() or not folder.is_dir():
        raise ConfigError(f"There is no folder {named!r:.200}.", "Enter the full path of a folder.")
    return (str(folder),)


def train_job(form: Form, places: Places) -> Job:
    """Create a run, and return the job that trains it.

    Raises:
        ConfigError: a field is missing or invalid.
    """
    config = train_config(form, places)
    output = Path(config.result.output)
    run = Run(new_folder(places.runs, output.stem))
    numbered = str(output.with_name(f"{run.folder.name}.safetensors"))  # with the run's number
    config = replace(config, result=replace(config.result, output=numbered))
    return training(run, config)


def train_config(form: Form, places: Places) -> Config:
    """Return the config of a training.

    Raises:
        ConfigError: a field is missing or invalid.
    """
    from ..trainer.photos.folder import find_photos  # here, to keep the host's start fast

    name = form.name.strip().removesuffix(".safetensors")
    check_file_stem(name, "name")
    settings = form.settings(places.reach)
    folder = places.results(settings.get("method"))
    config = Config.from_values(
        {
            **settings,
            "base": base_path(places, form.base, settings.get("vae")),
            "instance_images": sources(form, places),
            "output": str(folder / f"{name}.safetensors"),
        }
    )
    find_photos(config.concepts[0].instance.instance_images)
    return config


def resume_job(run: Run, places: Places) -> Job:
    """Return the job that resumes a stopped run with its own settings.

    Raises:
        ConfigError: the run holds links, or was made elsewhere and names files outside of the host.
    """
    config = own_config(run, places.contain, PUT_HERE)
    return training(run, config, earlier(run))


def earlier(run: Run) -> View:
    """Return the losses and samples of a run so far; the rest is reported once more."""
    view = View.of(read_events(run.events))
    return View(steps=view.steps, samples=view.samples)


def training(run: Run, config: Config, heard: View | None = None) -> Job:
    """Return the job that trains a new run, or resumes one that has reported something before."""
    order = Train(str(run.folder), config.to_dict(), resume=heard is not None)
    return Job("train", run.folder.name, order, heard)


def class_images_job(form: Form, places: Places) -> Job:
    """Return the job that generates class images for later runs with the same settings.

    Raises:
        ConfigError: a field is missing or invalid.
    """
    settings = form.settings(places.reach)
    require_class_images(read_group(PriorConfig, settings))
    settings["base"] = base_path(places, form.base, settings.get("vae"))
    return Job("class_images", "class images", MakeClassImages(work_folder(places), settings))


def identifiers_job(form: Form, places: Places) -> Job:
    """Return the job that proposes identifiers, and rates those of the instance prompt.

    Raises:
        ConfigError: a field is missing or invalid.
    """
    settings = form.settings(places.reach)
    for name in WORDS:
        check_value(SETTINGS[name], settings[name])
    instance_prompt, class_prompt = (settings[name] for name in WORDS)
    noun, words = noun_of(class_prompt), own_words(instance_prompt, class_prompt)
    settings["base"] = base_path(places, form.base, settings.get("vae"))
    order = RateWords(work_folder(places), settings, noun, words, PROPOSED)
    return Job("identifiers", "words", order)


def compare_job(run: Run, result: Path, places: Places) -> Job:
    """Return the job that samples a run's prompts with its base and with its result.

    Raises:
        ConfigError: as for `resume_job`.
    """
    config = own_config(run, places.contain, PUT_HERE)
    folder = run.folder / "compare"
    remove(run.folder, folder)
    number = images_per_prompt(config.sample_prompts)
    order = Compare(work_folder(places), config.to_dict(), str(result), number, str(folder))
    return Job("compare", run.folder.name, order)


def work_folder(places: Places) -> str:
    folder = places.runs / WORK
    remove(places.runs, folder)
    return str(folder)
