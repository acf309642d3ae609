"""What the wires between the nodes carry: frozen values, never models or images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..trainer.config import InstanceConfig


@dataclass(frozen=True)
class InstanceSet:
    """The photos of a subject and how they are trained.

    Args:
        fingerprint: of the photos' and captions' contents.
    """

    config: InstanceConfig
    class_prompt: str
    fingerprint: str


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
