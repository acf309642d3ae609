"""A training requested by the node: its config and fingerprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..trainer.config.concept import InstanceConfig
from ..trainer.config.config import CONCEPTS, Config
from ..trainer.config.fields import from_field
from ..trainer.config.names import check_file_stem
from ..trainer.config.settings import settings_of
from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import settings_key
from .checks import require_same_class
from .fields import FROM_WIRES, SETTINGS
from .wires import Base, ClassImages, InstanceSet

__all__ = [
    "RESUME",
    "START_OVER",
    "fingerprint",
    "make_config",
    "output_path",
    "setting_values",
]

RESUME, START_OVER = "resume", "start over"
WITHOUT_EFFECT = {  # on the result
    "gradient_checkpointing",
    "save_every",
    "checkpoints_total_limit",
    "class_batch_size",
    "bad_images",
    "subject_kind",
}


def setting_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node's inputs as values of settings, not yet checked."""
    return {name: from_field(SETTINGS[name], value) for name, value in given.items()}


def output_path(folder: Path, output_name: str) -> Path:
    """Return the path of the result to save.

    Raises:
        ConfigError: the name is not a valid file name.
    """
    name = output_name.strip().removesuffix(".safetensors")
    check_file_stem(name, "output_name")
    return folder / f"{name}.safetensors"


def make_config(
    values: Mapping[str, Any],
    base: Base,
    photos: InstanceSet,
    classes: ClassImages | None,
    output: Path,
) -> Config:
    """Return the complete config, with one concept for each subject.

    Raises:
        ConfigError: a value is invalid, or the class images are from another model or subject.
    """
    if classes is not None:
        check_same_base(classes, base.identity)
    return Config.from_values(
        {
            **values,
            CONCEPTS: [
                instance_values(subject) | class_values(subject, classes)
                for subject in with_class_prompts(photos.subjects, classes)
            ],
            "base": str(base.path),
            "vae": None if base.vae_path is None else str(base.vae_path),
            "prediction_type": base.prediction_type,
            "clip_skip": base.clip_skip,
            "output": str(output),
        }
    )


def instance_values(subject: InstanceSet) -> dict[str, Any]:
    return {spec.name: getattr(subject.config, spec.name) for spec in settings_of(InstanceConfig)}


def class_values(subject: InstanceSet, classes: ClassImages | None) -> dict[str, Any]:
    """Return a subject's settings for class images: those on the wire if they are of its class."""
    if classes is None or classes.settings["class_prompt"] != subject.class_prompt:
        return {"class_prompt": subject.class_prompt}
    return {
        "class_prompt": subject.class_prompt,
        "class_images": str(classes.folder),
        "num_class_images": classes.count,
    }


def with_class_prompts(
    subjects: Sequence[InstanceSet], classes: ClassImages | None
) -> Sequence[InstanceSet]:
    """Return the subjects; a single one takes over the prompt of the class images on the wire.

    Raises:
        ConfigError: the class images belong to none of them.
    """
    if classes is None:
        return subjects
    prompt = classes.settings["class_prompt"]
    require_same_class(prompt, [subject.class_prompt for subject in subjects])
    return [replace(subjects[0], class_prompt=prompt)] if len(subjects) == 1 else subjects


def check_same_base(classes: ClassImages, identity: Mapping[str, str]) -> None:
    if any(classes.settings.get(name) != value for name, value in identity.items()):
        raise ConfigError(
            "The class images were generated with a different model than the one to train.",
            "Connect Generate Class Images and DreamBooth Train to the same model.",
        )


def fingerprint(
    config: Config, base: Base, photos: InstanceSet, classes: ClassImages | None
) -> str:
    """Return a key for everything that shapes the result: same key, same result."""
    settings = shaping(config.flat())
    settings.pop("concept_weight", None)  # has no effect on one concept
    settings[CONCEPTS] = [shaping(concept) for concept in settings.get(CONCEPTS, ())]
    return settings_key(
        {
            "settings": settings,
            "base": base.shaping,
            "prediction_type": base.prediction_type,
            "photos": [subject.fingerprint for subject in photos.subjects],
            "class_images": None if classes is None else dict(classes.settings),
            "output_name": Path(config.result.output).name,
        }
    )


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that shape the result."""
    without = FROM_WIRES | WITHOUT_EFFECT
    return {k: v for k, v in settings.items() if k not in without and not k.startswith("sample_")}
