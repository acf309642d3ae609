"""What a run is made from: its settings and the contents of its files, compared on a resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...config.config import CONCEPTS, Config
from ...errors import ConfigError
from ...files.fingerprint import file_sha256, settings_key
from ...photos.images import Photo

__all__ = ["DESCRIBED", "Inputs", "check_same", "description"]

MAY_CHANGE = {"max_train_steps", "save_every", "checkpoints_total_limit", "output", "description"}
MAY_CHANGE |= {
    "gradient_checkpointing",
    "attention",
    "class_batch_size",
    "train_batch_size",
    "gradient_accumulation_steps",
    "bad_images",
    "subject_kind",
    "base",
    "vae",
    "instance_images",
    "class_images",
}
STEP_IMAGES = "train_batch_size x gradient_accumulation_steps x processes"
DESCRIBED = ("settings", "files", "places of photos")  # the parts of a description


@dataclass
class Inputs:
    """Contents that a run is made from, as fingerprints by name, and the place of each photo.

    Args:
        places: the concept of each photo, and its place there, both from 1.
    """

    base: str
    vae: str
    images: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[int]] = field(default_factory=dict)

    def add_photos(
        self, photos: Sequence[Photo], concept: int = 1, check: Callable[[], None] = lambda: None
    ) -> None:
        """Take note of a concept's photos with their captions, by contents.

        Their folder may be moved, so they are known by the names of their files; of photos with
        one name, the second is "name (2)".

        Args:
            check: called for every file; raises Stop.
        """
        for place, photo in enumerate(photos, start=1):
            content = {"file": file_sha256(photo.path, check), "caption": photo.caption}
            name = free_name(photo.path.name, self.images)
            self.images[name] = settings_key(content)
            self.places[name] = [concept, place]

    def add_class_images(
        self, paths: Sequence[Path], check: Callable[[], None] = lambda: None
    ) -> None:
        """Take note of one concept's class images; `check` is called for each and raises Stop."""
        contents = {path.name: file_sha256(path, check) for path in paths}
        self.images[free_name("class images", self.images)] = settings_key(contents)


def free_name(name: str, taken: Mapping[str, Any]) -> str:
    """Return the name, or with the first number that makes it a new one."""
    names = (name, *(f"{name} ({number})" for number in range(2, len(taken) + 3)))
    return next(candidate for candidate in names if candidate not in taken)


def description(config: Config, inputs: Inputs, num_processes: int = 1) -> dict[str, Any]:
    """Return what a run is made from: its settings and the contents of its files.

    How a step's images are divided among passes and processes is left out: it changes no image,
    noise or weight in the loss.
    """
    training = config.training
    flat = config.flat()
    settings = shaping(flat)
    if CONCEPTS not in flat:
        settings.pop("concept_weight")  # has no effect on one concept
    for number, concept in enumerate(flat.get(CONCEPTS, ()), start=1):
        settings |= {f"{name} of concept {number}": v for name, v in shaping(concept).items()}
    step_images = training.train_batch_size * training.gradient_accumulation_steps * num_processes
    settings[STEP_IMAGES] = step_images
    return {
        "settings": settings,
        "files": {"base": inputs.base, "vae": inputs.vae, **inputs.images},
        "places of photos": dict(inputs.places),
    }


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that shape the result."""
    without = {name: value for name, value in settings.items() if name not in MAY_CHANGE}
    return {k: v for k, v in without.items() if k != CONCEPTS and not k.startswith("sample_")}


def check_same(state: Mapping[str, Any], described: Mapping[str, Any], run: str) -> None:
    """Raise ConfigError, naming what differs, unless a run is made from the same as before."""
    for kind in DESCRIBED:
        before, now = state[kind], described[kind]
        changed = [
            name[:80] for name in sorted({*before, *now}) if before.get(name) != now.get(name)
        ]
        if changed:
            raise ConfigError(
                f"Cannot resume {run}: these {kind} changed: {', '.join(changed[:5])}.",
                "Restore them as they were, or start a new run.",
            )
