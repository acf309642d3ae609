"""Pictures between Pillow, files and ComfyUI's IMAGE tensors, (B, H, W, 3) from 0 to 1."""

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


def to_tensor(picture: Image.Image) -> Tensor:
    """(1, H, W, 3)"""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels)[None]


def to_picture(image: Tensor) -> Image.Image:
    """From (1, H, W, 3)."""
    pixels = (image[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.cpu().numpy())


def read_tensor(path: Path) -> Tensor:
    """A picture in a file.

    Raises:
        ConfigError: it cannot be read; names the file.
    """
    from ..trainer.photos.images import read_photo  # when used: it would delay ComfyUI's start

    return to_tensor(read_photo(path))


def read_tensors(paths: Iterable[Path]) -> Tensor:
    """Pictures of one size as one batch.

    Raises:
        ConfigError: one cannot be read, or is of another size than the first.
    """
    found = {path: read_tensor(path) for path in paths}
    size = next(iter(found.values())).shape
    for path, image in found.items():
        if image.shape != size:
            raise ConfigError(f"{path} is of another size than the others.", "Remove it.")
    return torch.cat(list(found.values()))


def write_picture(path: Path, image: Tensor) -> None:
    """Write a PNG whole or not at all."""
    buffer = io.BytesIO()
    to_picture(image).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
