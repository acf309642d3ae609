"""The values on the pack's wires, as frozen dataclasses without models or images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..trainer.config.concept import InstanceConfig
from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import file_sha256
from ..trainer.model_files.families import Family
from ..trainer.runs.events import ResultKind

__all__ = ["Base", "ClassImages", "InstanceSet", "TrainedResult", "clip_skip_of", "require_kind"]

OTHER_LAYER = (
    "The CLIP wire stops at layer {0}. Training ignores this: {1} always reads its text encoders' "
    "second-to-last layer."
)


@dataclass(frozen=True)
class Base:
    """The base model behind MODEL, CLIP and VAE, for the worker.

    Args:
        identity: {"base": SHA-256 of the file}, or {"patched_base": key of the upstream graph}.
        path: the checkpoint, or the file that a patched model is exported to.
        vae_path: a VAE file that replaces the checkpoint's own.
        notes: warnings where training differs from what the wires carry.
        clip_skip: the CLIP wire's layer, as the trainer counts; None: the usual.
    """

    identity: Mapping[str, str]
    path: Path
    vae_path: Path | None
    prediction_type: str
    notes: tuple[str, ...] = ()
    clip_skip: int | None = None

    @property
    def patched(self) -> bool:
        """Whether the model was patched on its way from the checkpoint."""
        return "patched_base" in self.identity

    @property
    def shaping(self) -> dict[str, Any]:
        """Everything about the base that shapes its images."""
        own: dict[str, Any] = {} if self.vae_path is None else {"vae": file_sha256(self.vae_path)}
        if self.clip_skip is not None:
            own["clip_skip"] = self.clip_skip
        return {**self.identity, **own}


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


def clip_skip_of(layer: int | None, family: Family | None) -> tuple[int | None, tuple[str, ...]]:
    """Return the Clip skip to train with (None: as usual), and a note on a layer that is ignored.

    Args:
        layer: of the CLIP wire; ComfyUI's -2 is the Clip skip 2 of other hosts.
    """
    if family is None or layer is None or layer == family.clip_layer:
        return None, ()
    if family.has_clip_skip:
        return -layer, ()
    return None, (OTHER_LAYER.format(layer, family.title),)


SOURCES = {InstanceSet: "Load Instance Images", ClassImages: "Generate Class Images"}


def require_kind(kind: type, name: str, value: object) -> None:
    """Refuse what does not come from our own node: a graph may put any value on a wire.

    Raises:
        ConfigError: names the input and the node to connect to it.
    """
    if not isinstance(value, kind):
        source = SOURCES[kind]
        raise ConfigError(f"The {name} input does not come from {source}.", "Connect that node.")
