"""The complete, checked configuration of one training, read from and written as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError
from ..files.input_file import parse_json, read_object
from ..prompts.lists import filled
from .checks import check_together
from .concept import ConceptConfig, InstanceConfig, PriorConfig
from .model import EMBEDDED, ModelConfig, check_side
from .optimization import TrainingConfig
from .rates import rate_in_effect
from .result import ResultConfig, check_output
from .sampling import SampleConfig
from .settings import Setting, check_value, nearest, parse_value, settings_of
from .trained import TrainedConfig

__all__ = [
    "CONCEPTS", "GROUPS", "Config", "all_settings", "flatten", "parse_document", "placed_text",
    "read_config_file", "read_group", "with_place",
]  # fmt: skip

MAX_CONFIG_BYTES = 10_000_000
MAX_CONCEPTS = 100
CONCEPTS = "concepts"  # the list of subjects, where there is more than one
Group = TypeVar("Group")
# In the order in which user interfaces show them.
GROUPS: dict[str, type] = {
    "model": ModelConfig,
    "instance": InstanceConfig,
    "prior": PriorConfig,
    "trained": TrainedConfig,
    "training": TrainingConfig,
    "samples": SampleConfig,
    "result": ResultConfig,
}
OF_CONCEPT = ("instance", "prior")


@dataclass(frozen=True)
class Config:
    """The complete, checked configuration of one training.

    In JSON, settings may be grouped or flat. A single concept needs no list: its settings are
    given with the others. With a list `concepts`, concept settings outside the list apply to
    every concept that does not set them itself.
    """

    model: ModelConfig
    concepts: tuple[ConceptConfig, ...]
    result: ResultConfig
    trained: TrainedConfig = field(default_factory=TrainedConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    samples: SampleConfig = field(default_factory=SampleConfig)

    def __post_init__(self) -> None:
        for name in (name for name in GROUPS if name not in OF_CONCEPT):
            check_group(getattr(self, name))
        if not 0 < len(self.concepts) <= MAX_CONCEPTS:
            raise ConfigError(
                f"There are {len(self.concepts)} concepts.", f"Give 1 to {MAX_CONCEPTS}."
            )
        for index, concept in enumerate(self.concepts):
            with_place(index, len(self.concepts), lambda concept=concept: self.check(concept))
        check_output(self.result.output)
        check_together(self.model, self.trained, self.training, self.concepts)

    def check(self, concept: ConceptConfig) -> None:
        """Raise ConfigError for a concept that cannot be trained."""
        check_group(concept.instance)
        check_group(concept.prior)
        check_prompts(concept.instance)
        check_side(self.model.base, concept.instance.resolution)

    @property
    def resolution(self) -> int:
        """The side of the largest training images, and of samples, in pixels."""
        return max(concept.instance.side for concept in self.concepts)

    def learning_rate(self, name: str) -> float:
        """Return the learning rate in effect, by the name of its setting."""
        return rate_in_effect(self.training, self.trained, name)

    @property
    def sample_prompts(self) -> list[str]:
        """The prompts to sample: those set, or every concept's instance prompt, each once."""
        own = [concept.instance.instance_prompt for concept in self.concepts]
        return filled(self.samples.sample_prompts, own) or list(dict.fromkeys(own))

    @property
    def has_class_images(self) -> bool:
        """Whether any concept trains class images."""
        return any(concept.prior.enabled for concept in self.concepts)

    def with_resolution(self, side: int) -> Config:
        """Return a copy in which every resolution that was left open is this one."""
        concepts = tuple(
            replace(one, instance=replace(one.instance, resolution=one.instance.resolution or side))
            for one in self.concepts
        )
        return replace(self, concepts=concepts)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by group; a single concept without a list."""
        document = json.loads(json.dumps(dataclasses.asdict(self)))
        concepts = document.pop(CONCEPTS)
        document |= {CONCEPTS: concepts} if len(concepts) > 1 else concepts[0]
        return {name: document[name] for name in (*GROUPS, CONCEPTS) if name in document}

    def to_json(self) -> str:
        """Return the settings by group as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Config:
        """Build from flat values by setting name; strings are read as the setting's own type.

        Raises:
            ConfigError: a name is unknown, or a value is missing or bad.
        """
        known = {spec.name for _, spec in all_settings()}
        check_names(values, known | {CONCEPTS})
        shared = {name: value for name, value in values.items() if name != CONCEPTS}
        concepts = read_concepts(shared, values.get(CONCEPTS))
        groups = {name: group for name, group in GROUPS.items() if name not in OF_CONCEPT}
        return cls(
            concepts=concepts,
            **{name: read_group(group, shared) for name, group in groups.items()},
        )

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Config:
        """Build from the nested form that `to_dict` returns."""
        return cls.from_values(flatten(document))

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Build from JSON text, nested or flat."""
        return cls.from_dict(parse_document(text))

    def flat(self) -> dict[str, Any]:
        """Return every setting by name; several concepts as a list of such mappings."""
        return flatten(self.to_dict())

    def with_values(self, **values: Any) -> Config:
        """Return a copy with some settings changed; those of a concept change in every concept."""
        flat = self.flat()
        for concept in flat.get(CONCEPTS, ()):
            concept |= {name: value for name, value in values.items() if name in concept}
        return Config.from_values(flat | values)

    def with_paths(self, change: Callable[[str], str]) -> Config:
        """Return a copy with every path changed."""
        return Config.from_values(self.flat_with_paths(change))

    def flat_with_paths(self, change: Callable[[str], str]) -> dict[str, Any]:
        """Return every setting by its name, with every path changed."""
        values = self.flat()
        for concept in values.get(CONCEPTS, [values]):
            concept["instance_images"] = [change(path) for path in concept["instance_images"]]
            if concept["class_images"] is not None:
                concept["class_images"] = change(concept["class_images"])
        for name in ("base", "vae", "output"):
            if values[name] not in (None, EMBEDDED):
                values[name] = change(values[name])
        return values


def read_concepts(
    shared: Mapping[str, Any], listed: Sequence[Mapping[str, Any]] | None
) -> tuple[ConceptConfig, ...]:
    """Return the concepts, each from the shared flat values overridden by its own."""
    if listed is None:
        return (read_concept(shared),)
    if not isinstance(listed, (list, tuple)) or not all(isinstance(own, dict) for own in listed):
        raise ConfigError("concepts is not a list of objects.", 'Give [{"instance_images": ...}].')
    known = {spec.name for group in OF_CONCEPT for spec in settings_of(GROUPS[group])}

    def read(own: Mapping[str, Any]) -> ConceptConfig:
        own = flatten(own)
        check_names(own, known)
        return read_concept({**shared, **own})

    return tuple(
        with_place(index, len(listed), lambda own=own: read(own))
        for index, own in enumerate(listed)
    )


def read_concept(values: Mapping[str, Any]) -> ConceptConfig:
    return ConceptConfig(read_group(InstanceConfig, values), read_group(PriorConfig, values))


def with_place(index: int, count: int, action: Callable[[], Group]) -> Group:
    """Run an action for one of several concepts; its errors say for which."""
    try:
        return action()
    except ConfigError as error:
        if count == 1:
            raise
        raise ConfigError(placed_text(index, count, error.message), error.hint) from error


def placed_text(index: int, count: int, text: str) -> str:
    """Return a text about one of several concepts, with which it is."""
    return text if count == 1 else f"Concept {index + 1}: {text}"


def read_group(group: type[Group], values: Mapping[str, Any]) -> Group:
    """Build and check one group from flat values by setting name; other values are ignored.

    Raises:
        ConfigError: a value is missing or bad.
    """
    found: dict[str, Any] = {}
    for spec in settings_of(group):
        if spec.name in values:
            found[spec.name] = parse_value(spec, values[spec.name])
        elif spec.required:
            raise ConfigError(f"{spec.name} is missing.", f"Give {spec.flag}: {spec.help}")
    built = group(**found)
    check_group(built)
    return built


def check_group(group: object) -> None:
    for spec in settings_of(type(group)):
        check_value(spec, getattr(group, spec.name))


def all_settings() -> Iterator[tuple[str, Setting]]:
    """Yield every setting with the name of its group, in the order that user interfaces show."""
    for name, group in GROUPS.items():
        yield from ((name, spec) for spec in settings_of(group))


def parse_document(text: str) -> dict[str, Any]:
    """Read a config's JSON text into a mapping, nested or flat."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"The config is not JSON: {error}.", "Fix the file.") from error
    if not isinstance(document, dict):
        raise ConfigError("The config is not a JSON object.", 'It starts with {"model": ...}.')
    return document


def read_config_file(path: Path, *, own: bool = False) -> dict[str, Any]:
    """Read the settings by name from a config file, nested or flat.

    Args:
        own: it is a run's, so that a link is refused.

    Raises:
        ConfigError: the file cannot be read or is not a config; names the file.
    """
    return flatten(read_object(path, MAX_CONFIG_BYTES, "Give a config file.", own=own))


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {group: {setting: value}} into {setting: value}; flat entries stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        found = {key: value}
        if key in GROUPS and isinstance(value, dict):
            found = value
            check_names(found, {spec.name for spec in settings_of(GROUPS[key])})
        elif key == CONCEPTS and isinstance(value, list):
            found = {key: [flatten(own) if isinstance(own, dict) else own for own in value]}
        for name in found.keys() & flat.keys():
            raise ConfigError(f"{name!r:.80} is given twice.", "Remove one of the two.")
        flat |= found
    return flat


def check_names(values: Mapping[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            raise ConfigError(f"There is no setting {name!r:.80}.", nearest(name, known))


def check_prompts(instance: InstanceConfig) -> None:
    if not instance.instance_prompt.strip():
        hint = 'Name the subject, such as "a photo of sks dog".'
        raise ConfigError("instance_prompt is empty.", hint)
    if not instance.instance_images:
        raise ConfigError("instance_images is empty.", "Give a folder or a list of photos.")
