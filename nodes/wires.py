"""What the wires carry, as plain frozen values: no host, no models, no images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..trainer.config.concept import InstanceConfig
from ..trainer.files.fingerprint import file_sha256


@dataclass(frozen=True)
class Base:
    """The base model behind MODEL, CLIP and VAE, for the worker.

    Args:
        identity: {"base": SHA-256 of the file}, or {"patched_base": key of what led to it}.
        path: the checkpoint; of a patched model the file that it is exported to.
        vae_path: a VAE's file, if it is not the checkpoint's own.
        notes: what training does differently from the wires.
    """

    identity: Mapping[str, str]
    path: Path
    vae_path: Path | None
    prediction_type: str
    notes: tuple[str, ...] = ()

    @property
    def patched(self) -> bool:
        return "patched_base" in self.identity

    @property
    def shaping(self) -> dict[str, str]:
        """Everything of the base that shapes its images."""
        vae = {} if self.vae_path is None else {"vae": file_sha256(self.vae_path)}
        return {**self.identity, **vae}


@dataclass(frozen=True)
class InstanceSet:
    """The photos of a subject and how they are trained.

    Args:
        fingerprint: of the photos' and captions' contents.
        notes: what the user has already been told about them.
    """

    config: InstanceConfig
    class_prompt: str
    fingerprint: str
    notes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ClassImages:
    """The first `count` images of a class set.

    Args:
        settings: everything that shaped them, as in the folder's set.json.
    """

    folder: Path
    count: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class TrainedLora:
    """A LoRA file and the prompt that calls its subject."""

    path: Path
    trigger: str
    family: str
