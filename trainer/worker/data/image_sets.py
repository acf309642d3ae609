"""What is trained on: sets of images, each with its weight in the loss and its target.

Legend: C latent channels, h w latent height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ...photos.crops import Crop
from .latents import Latents

__all__ = ["Concept", "ImageSet", "Target", "TrainingImage", "training_image"]

Target = Literal["noise", "base"]


@dataclass(frozen=True)
class TrainingImage:
    """One crop, ready to be noised.

    Args:
        latents: (C, h, w), scaled, float32.
        time_ids: original height and width, crop top and left, target height and width.
        spread: (C, h, w), the latents' standard deviation, if they are drawn anew in each step.
    """

    latents: Tensor
    prompt: str
    time_ids: tuple[int, ...]
    spread: Tensor | None = None


@dataclass(frozen=True)
class ImageSet:
    """Images that are trained in the same way.

    Args:
        name: of their random numbers: no two sets of a training share it.
        is_class: they protect the class; else they show the subject.
        weight: of their mean error in the loss.
        target: what is learned from them: the added noise (or velocity), or the prediction of the
            frozen base.
    """

    name: str
    images: Sequence[TrainingImage]
    is_class: bool = False
    weight: float = 1.0
    target: Target = "noise"


@dataclass(frozen=True)
class Concept:
    """Sets that are trained together: whenever it is a concept's turn, one image of each.

    Args:
        turns: how often it is trained, relative to the other concepts.
    """

    sets: Sequence[ImageSet]
    turns: int = 1


def training_image(crop: Crop, prompt: str, latents: Latents) -> TrainingImage:
    """Return a crop as it is trained."""
    time_ids = (*crop.original_size, *crop.top_left, *crop.target_size)
    return TrainingImage(latents.mean, prompt, time_ids, latents.spread)
