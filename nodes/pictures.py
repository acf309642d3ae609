"""Converts between Pillow images, files and ComfyUI's IMAGE: (B, H, W, 3), from 0 to 1."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..trainer.errors import ConfigError
from ..trainer.files.atomic import write_atomic

__all__ = ["read_tensor", "read_tensors", "to_picture", "to_tensor", "write_picture"]


def to_tensor(picture: Image.Image) -> Tensor:
    """Convert an image to a tensor (1, H, W, 3)."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels)[None]


def to_picture(image: Tensor) -> Image.Image:
    """Convert a tensor (1, H, W, 3) to an image."""
    pixels = (image[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.cpu().numpy())


def read_tensor(path: Path) -> Tensor:
    """Read an image file.

    Raises:
        ConfigError: the file cannot be read.
    """
    from ..trainer.photos.images import read_photo  # here, to keep ComfyUI's start fast

    return to_tensor(read_photo(path))


def read_tensors(paths: Iterable[Path]) -> Tensor:
    """Read image files of the same size as one batch.

    Raises:
        ConfigError: a file cannot be read, or differs in size from the first.
    """
    found = {path: read_tensor(path) for path in paths}
    size = next(iter(found.values())).shape
    for path, image in found.items():
        if image.shape != size:
            raise ConfigError(f"{path} differs in size from the other images.", "Delete it.")
    return torch.cat(list(found.values()))


def write_picture(path: Path, image: Tensor) -> None:
    """Write a PNG atomically."""
    buffer = io.BytesIO()
    to_picture(image).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
