"""Crops: which parts of a photo are trained, and their size conditioning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from ..config.concept import InstanceConfig
from .images import Photo, read_photo

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Crop", "FirstCrops", "Window", "crops_from", "crops_of", "windows_of"]

BUCKET_STEP_PX = 64
MAX_ZOOM = 1.15


@dataclass(frozen=True)
class Window:
    """The place of a crop in the resized photo: (width, height) sizes and a (y, x) corner."""

    resized: tuple[int, int]
    top_left: tuple[int, int]
    size: tuple[int, int]

    def mirrored(self) -> Window:
        """Return the window of the same part in the mirrored photo."""
        top, left = self.top_left
        return replace(self, top_left=(top, self.resized[0] - self.size[0] - left))


@dataclass(frozen=True)
class Crop:
    """An image as it is trained, with the values for SDXL's size and crop conditioning.

    Args:
        image: the RGB pixels.
        original_size: height and width of the upright photo.
        top_left: y and x of the crop in the resized (and, where `flipped`, mirrored) photo.
    """

    image: Image
    original_size: tuple[int, int]
    top_left: tuple[int, int]
    flipped: bool

    @property
    def target_size(self) -> tuple[int, int]:
        """Height and width of the crop."""
        return self.image.height, self.image.width


def crops_of(photo: Photo, config: InstanceConfig, index: int) -> list[Crop]:
    """Decode a photo once and return its crops.

    Args:
        photo: only its path is used.
        index: the photo's place in its set.
    """
    return crops_from(read_photo(photo.path, config.background), config, index)


def crops_from(image: Image, config: InstanceConfig, index: int) -> list[Crop]:
    """Return the crops of a photo's pixels; with `flip`, their mirror images follow.

    Args:
        index: the photo's place in its set, which alone determines random crops, so that every
            user interface shows what will be trained.
    """
    windows = windows_of(image.size, config, index)
    size = (image.height, image.width)
    crops = [Crop(cut(image, window), size, window.top_left, flipped=False) for window in windows]
    if config.flip:
        crops += [mirror(crop, window) for crop, window in zip(crops, windows, strict=True)]
    return crops


class FirstCrops:
    """Keeps the first crops of a set while its photos are read, each with its photo."""

    def __init__(self, config: InstanceConfig, limit: int) -> None:
        self.config, self.limit = config, limit
        self.found: list[tuple[Photo, Crop]] = []
        self.photos = 0

    def add(self, photo: Photo, image: Image) -> None:
        """Cut the next photo, as long as crops are wanted."""
        if len(self.found) < self.limit:
            crops = crops_from(image, self.config, self.photos)
            self.found += [(photo, crop) for crop in crops[: self.limit - len(self.found)]]
        self.photos += 1


def mirror(crop: Crop, window: Window) -> Crop:
    from PIL import ImageOps

    top_left = window.mirrored().top_left
    return replace(crop, image=ImageOps.mirror(crop.image), top_left=top_left, flipped=True)


def cut(image: Image, window: Window) -> Image:
    """Resize only the window's part of the photo."""
    from PIL.Image import Resampling

    (top, left), (width, height) = window.top_left, window.size
    x_step, y_step = image.width / window.resized[0], image.height / window.resized[1]
    right = min((left + width) * x_step, image.width)
    bottom = min((top + height) * y_step, image.height)
    box = (left * x_step, top * y_step, right, bottom)
    return image.resize(window.size, Resampling.LANCZOS, box=box, reducing_gap=3.0)


def windows_of(size: tuple[int, int], config: InstanceConfig, index: int) -> list[Window]:
    """Return the crops of a photo of (width, height) `size`.

    center: `num_crops` squares of the shorter side, spread evenly along the longer from end to
    end; a single one is centered; those of a square photo are all the same.
    random: squares at random positions; with several, each has a random zoom of 1 to MAX_ZOOM.
    none: one crop, the whole photo centered in the bucket nearest to its aspect ratio.
    """
    if config.crop_mode == "none":
        return [centered_window(size, nearest_bucket(size, config.side))]
    if config.crop_mode == "random":
        return list(random_windows(size, config, index))
    return list(spread_windows(size, config))


def covering(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest size with the photo's aspect ratio that covers the target."""
    scale = max(target[0] / size[0], target[1] / size[1])
    return max(target[0], round(size[0] * scale)), max(target[1], round(size[1] * scale))


def centered_window(size: tuple[int, int], target: tuple[int, int]) -> Window:
    width, height = covering(size, target)
    return Window((width, height), ((height - target[1]) // 2, (width - target[0]) // 2), target)


def spread_windows(size: tuple[int, int], config: InstanceConfig) -> Iterator[Window]:
    square = (config.side, config.side)
    width, height = covering(size, square)
    for number in range(config.num_crops):
        part = number / (config.num_crops - 1) if config.num_crops > 1 else 0.5
        top, left = int((height - square[1]) * part), int((width - square[0]) * part)
        yield Window((width, height), (top, left), square)


def random_windows(size: tuple[int, int], config: InstanceConfig, index: int) -> Iterator[Window]:
    import numpy as np

    rng = np.random.default_rng(index)
    square = (config.side, config.side)
    for _ in range(config.num_crops):
        zoom = 1 + (MAX_ZOOM - 1) * rng.random() if config.num_crops > 1 else 1.0
        side = round(config.side * zoom)
        width, height = covering(size, (side, side))
        top = int(rng.random() * (height - square[1] + 1))
        left = int(rng.random() * (width - square[0] + 1))
        yield Window((width, height), (top, left), square)


def nearest_bucket(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """Return the bucket nearest to the photo's aspect ratio; the larger of equally near ones."""
    aspect = math.log(size[0] / size[1])

    def distance(bucket: tuple[int, int]) -> tuple[float, int]:
        width, height = bucket
        return round(abs(math.log(width / height) - aspect), 9), -width * height

    return min(buckets(resolution), key=distance)


def buckets(resolution: int) -> list[tuple[int, int]]:
    """Return the sizes, in steps of 64 from half the resolution, that best fill resolution²."""
    area, step = resolution**2, BUCKET_STEP_PX
    least = math.ceil(resolution / 2 / step) * step
    sides = range(least, area // least + 1, step)
    return [
        (width, height)
        for width, height in product(sides, sides)
        if width * height <= area < min((width + step) * height, width * (height + step))
    ]
