"""The training pictures: picture number i is a pure function of the seed and i."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .parts import SIDE_PX
from .render import render
from .scene import Scene, caption, random_scene


def scene_number(seed: int, index: int) -> Scene:
    return random_scene(np.random.Generator(np.random.PCG64((seed, index))))


def caption_number(seed: int, index: int, telling: int) -> str:
    """One of the many captions of a picture, which differ in what they mention."""
    rng = np.random.Generator(np.random.PCG64((seed, index, telling)))
    return caption(scene_number(seed, index), rng)


def pictures(seed: int, indices: range, side: int = SIDE_PX) -> NDArray[np.uint8]:
    """(N, side, side, 3)"""
    found = np.empty((len(indices), side, side, 3), np.uint8)
    for place, index in enumerate(indices):
        found[place] = render(scene_number(seed, index), side).image
    return found


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) bytes to (N, 3, H, W) from -1 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
