"""The values on the pack's wires, as frozen dataclasses without models or images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..trainer.config.concept import InstanceConfig
from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import file_sha256
from ..trainer.runs.events import ResultKind

__all__ = ["Base", "ClassImages", "InstanceSet", "TrainedResult", "require_kind"]


@dataclass(frozen=True)
class Base:
    """The base model behind MODEL, CLIP and VAE, for the worker.

    Args:
        identity: {"base": SHA-256 of the file}, or {"patched_base": key of the upstream graph}.
        path: the checkpoint, or the file that a patched model is exported to.
        vae_path: a VAE file that replaces the checkpoint's own.
        notes: warnings where training differs from what the wires carry.
    """

    identity: Mapping[str, str]
    path: Path
    vae_path: Path | None
    prediction_type: str
    notes: tuple[str, ...] = ()

    @property
    def patched(self) -> bool:
        """Whether the model was patched on its way from the checkpoint."""
        return "patched_base" in self.identity

    @property
    def shaping(self) -> dict[str, str]:
        """Everything about the base that shapes its images."""
        vae = {} if self.vae_path is None else {"vae": file_sha256(self.vae_path)}
        return {**self.identity, **vae}


@dataclass(frozen=True)
class InstanceSet:
    """The photos of a subject and their settings.

    Args:
        fingerprint: key for the contents of photos and captions.
        notes: warnings about them that the user has already seen.
        others: the sets of further subjects that are trained with this one.
    """

    config: InstanceConfig
    class_prompt: str
    fingerprint: str
    notes: frozenset[str] = frozenset()
    others: tuple[InstanceSet, ...] = ()

    @property
    def subjects(self) -> tuple[InstanceSet, ...]:
        """The sets of all subjects, the first one in the graph first."""
        return (*self.others, self)


@dataclass(frozen=True)
class ClassImages:
    """The first `count` images of a class set.

    Args:
        settings: everything that shapes them, as in the folder's set.json.
    """

    folder: Path
    count: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class TrainedResult:
    """A LoRA or a checkpoint that was trained, and its trigger prompt."""

    path: Path
    kind: ResultKind
    trigger: str
    family: str


SOURCES = {InstanceSet: "Load Instance Images", ClassImages: "Generate Class Images"}


def require_kind(kind: type, name: str, value: object) -> None:
    """Refuse what does not come from our own node: a graph may put any value on a wire.

    Raises:
        ConfigError: names the input and the node to connect to it.
    """
    if not isinstance(value, kind):
        source = SOURCES[kind]
        raise ConfigError(f"The {name} input does not come from {source}.", "Connect that node.")
