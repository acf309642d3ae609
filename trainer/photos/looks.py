"""How photos look: their sharpness, and fingerprints that are alike where the photos are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Look", "differing_bits", "look_at"]

WORK_PX = 512  # shorter side at which sharpness is measured


@dataclass(frozen=True)
class Look:
    """How a photo looks: its sharpness and its 64-bit fingerprint."""

    sharpness: float
    fingerprint: int


def look_at(image: Image) -> Look:
    """Measure an RGB image."""
    gray = image.convert("L")
    return Look(sharpness_of(gray), fingerprint_of(gray))


def sharpness_of(gray: Image) -> float:
    """Return the variance of the Laplacian (Pech-Pacheco et al. 2000) where a photo is sharpest.

    It is measured at one working size, as the 0.9 quantile of 8 x 8 tiles, so that neither the
    resolution nor a smooth background matters.
    """
    import numpy as np

    pixels = np.asarray(shrunk(gray), dtype=np.float32)  # (H, W)
    middle = pixels[1:-1, 1:-1]
    neighbors = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    rows = np.array_split(neighbors - 4 * middle, 8)
    tiles = [tile.var() for row in rows for tile in np.array_split(row, 8, axis=1)]
    return float(np.quantile(tiles, 0.9))


def shrunk(gray: Image) -> Image:
    """Return a photo at the working size, or unchanged if smaller, but large enough for tiles."""
    from PIL.Image import Resampling

    scale = min(1.0, WORK_PX / min(gray.size))
    width, height = (max(16, round(side * scale)) for side in gray.size)
    return gray.resize((width, height), Resampling.LANCZOS, reducing_gap=3.0)


def fingerprint_of(gray: Image) -> int:
    """Return a difference hash: which of 8 x 8 pixels are brighter than their left neighbor.

    Shades are floats, and a difference of up to one shade does not count, so that noise does not
    set the bits of flat areas.
    """
    import numpy as np
    from PIL.Image import Resampling

    small = gray.resize((256, 256), Resampling.BOX).convert("F")
    shades = np.asarray(small.resize((9, 8), Resampling.LANCZOS))
    bits = np.diff(shades, axis=1) > 1
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def differing_bits(one: Look, other: Look) -> int:
    """Return in how many of 64 bits two fingerprints differ."""
    return (one.fingerprint ^ other.fingerprint).bit_count()
