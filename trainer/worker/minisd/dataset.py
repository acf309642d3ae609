"""The training images: image i is a pure function of the seed and i."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .parts import SIDE_PX
from .render import render
from .scene import Scene, caption, random_scene

__all__ = ["caption_number", "pictures", "scene_number", "to_pixels"]


def scene_number(seed: int, index: int) -> Scene:
    """Return the scene of one image."""
    return random_scene(np.random.Generator(np.random.PCG64((seed, index))))


def caption_number(seed: int, index: int, telling: int) -> str:
    """Return one of an image's many captions, which differ in what they mention."""
    rng = np.random.Generator(np.random.PCG64((seed, index, telling)))
    return caption(scene_number(seed, index), rng)


def pictures(seed: int, indices: range, side: int = SIDE_PX) -> NDArray[np.uint8]:
    """Return rendered images, (N, side, side, 3)."""
    found = np.empty((len(indices), side, side, 3), np.uint8)
    for place, index in enumerate(indices):
        found[place] = render(scene_number(seed, index), side).image
    return found


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """Convert uint8 images (N, H, W, 3) to values from -1 to 1, (N, 3, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
