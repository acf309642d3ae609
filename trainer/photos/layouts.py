"""Photos as other trainers lay them out: kohya's folders, and a list of concepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd
from pathlib import Path
from typing import Any

from ..config.config import CONCEPTS, read_config_file
from ..errors import ConfigError
from ..files.input_file import read_json
from ..prompts.words import words_of
from .folder import Group, group_of, groups_in, photos_below, photos_in
from .notes import counted, listed

__all__ = ["read_concepts", "read_settings", "with_layouts"]

MAX_BYTES = 10_000_000
MAX_CLASS_IMAGES, MAX_WEIGHT = 10_000, 1000  # of num_class_images and concept_weight
# What a concepts_list.json calls our settings.
KEYS = {"instance_data_dir": "instance_images", "class_data_dir": "class_images"}


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings by name from a config file; a list in it are the concepts.

    Raises:
        ConfigError: the file cannot be read or is neither.
    """
    document = read_json(path, MAX_BYTES, "Give a config file.")
    return {CONCEPTS: document} if isinstance(document, list) else read_config_file(path)


def read_concepts(path: Path) -> dict[str, Any]:
    """Read a list of concepts, such as a concepts_list.json, as settings by name.

    Raises:
        ConfigError: the file is not a list in JSON.
    """
    hint = 'Give [{"instance_prompt": ..., "instance_data_dir": ...}, ...].'
    document = read_json(path, MAX_BYTES, hint)
    if not isinstance(document, list):
        raise ConfigError(f"{path} is not a list of concepts.", hint)
    return {CONCEPTS: document}


def with_layouts(values: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name, with what other trainers' folders and lists mean in ours.

    Args:
        below: settings that these come on top of.

    Raises:
        ConfigError: folders and settings contradict each other.
    """
    given = values.get(CONCEPTS)
    if isinstance(given, (list, tuple)):
        shared = {**below, **values}
        read = [own for one in given for own in (spread(one, shared) if is_object(one) else [one])]
        return {**values, CONCEPTS: read}
    concepts = read_folders(values, below)
    if len(concepts) == 1:
        return {**values, **concepts[0]}
    kept = {name: value for name, value in values.items() if name not in concepts[0]}
    return {**kept, CONCEPTS: concepts}


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def spread(own: Mapping[str, Any], shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a listed concept by our names; several where its folder holds several."""
    for name in KEYS.keys() & own.keys():
        if KEYS[name] in own:
            raise ConfigError(f"{name} and {KEYS[name]} are the same.", "Remove one of the two.")
    named = {KEYS.get(name, name): value for name, value in own.items()}
    folder = own.get("class_data_dir")
    # Its trainer fills that folder; here the base's images are kept in the cache.
    if isinstance(folder, str) and not (Path(folder).is_dir() and photos_below(Path(folder))):
        named.pop("class_images")
    return [{**named, **concept} for concept in read_folders(named, shared)]


def read_folders(own: Mapping[str, Any], shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings that follow from folders named by kohya's rule, one for each concept."""
    settings = {**shared, **own}
    concepts = instance_settings(own, settings.get("instance_prompt") or "")
    regular = groups_at(own.get("class_images"))
    if regular:
        for concept in concepts:
            prompt = concept.get("instance_prompt") or settings.get("instance_prompt") or ""
            concept |= class_settings(regular, prompt, settings)
    return concepts


def groups_at(source: Any) -> list[Group]:
    """Return the groups that a folder is or holds; none where it is of another kind."""
    folder = Path(source) if isinstance(source, str) and source else None
    try:
        if folder is None or not folder.is_dir():
            return []
        if not photos_in(folder):
            return groups_in(folder)
        group = group_of(folder.absolute())
    except (OSError, ValueError):  # reading the photos says why
        return []
    return [group] if group else []


def instance_settings(own: Mapping[str, Any], prompt: str) -> list[dict[str, Any]]:
    """Return images, prompt and weight of each concept in the given folders.

    A concept's weight is its share of an epoch: repeats times photos.
    """
    given = own.get("instance_images")
    sources = [given] if isinstance(given, str) else given
    if not isinstance(sources, (list, tuple)):
        return [{}]  # missing, or refused when the config is read
    found = [groups_at(source) for source in sources]
    named = [Path(groups[0].folder) for groups in found if groups]
    direct = all(Path(source).absolute() in named for source in map(str, sources))
    if not found or not all(found) or (direct and prompt):
        return [{}]
    groups = [group for several in found for group in several]
    check_prompts(groups, prompt)
    concepts: list[dict[str, Any]] = [
        {"instance_images": [str(group.folder)], "instance_prompt": prompt or group.prompt}
        for group in groups
    ]
    if len(groups) > 1:
        for concept, weight in zip(concepts, weights(groups), strict=True):
            concept["concept_weight"] = weight
    return concepts


def check_prompts(groups: Sequence[Group], prompt: str) -> None:
    if prompt and len({group.prompt for group in groups}) > 1:
        each = [f"{group.folder.name} ({counted(group.num_photos, 'photo')})" for group in groups]
        raise ConfigError(
            f"instance_images has a prompt in the name of each folder: {listed(each)}; "
            f"instance_prompt is {prompt!r:.200}.",
            "Leave instance_prompt out, or give one of the folders.",
        )


def weights(groups: Sequence[Group]) -> list[int]:
    """Return small whole numbers in proportion to the groups' shares of an epoch."""
    shares = [group.repeats * group.num_photos for group in groups]
    divisor = max(gcd(*shares), max(shares) / MAX_WEIGHT)
    return [max(1, round(share / divisor)) for share in shares]


def class_settings(
    groups: Sequence[Group], prompt: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings for class images that lie in folders such as 1_dog.

    Raises:
        ConfigError: there are several, and none shows the concept's class.
    """
    words = set(words_of(prompt))
    fitting = [group for group in groups if words.issuperset(words_of(group.prompt))]
    if not fitting and len(groups) > 1:
        raise ConfigError(
            f"No folder of class_images is named after the class of {prompt!r:.200}: "
            f"{listed([group.folder.name for group in groups])}.",
            "Rename one, as 1_dog for a photo of sks dog, or give one of them as class_images.",
        )
    group = max(fitting or groups, key=lambda one: len(words_of(one.prompt)))
    number = settings.get("num_class_images") or min(group.num_photos, MAX_CLASS_IMAGES)
    return {
        "class_images": str(group.folder),
        "class_prompt": settings.get("class_prompt") or group.prompt,
        "num_class_images": number,
    }
