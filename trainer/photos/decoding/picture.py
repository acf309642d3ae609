"""What a format's reader returns, how it refuses, and the bounds that hold before decoding."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from .color import Meaning, exif_meaning

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = [
    "SAVE_EIGHT_BITS", "UNREADABLE", "Picture", "Refused", "check_bounds", "exif_from", "exif_of",
    "orientation_of", "picture_of", "pillow_file",
]  # fmt: skip

SAVE_EIGHT_BITS = "Save it as 8-bit PNG or JPEG, or remove it."
MAX_PIXELS = 256_000_000  # above the 200 megapixels of the largest phone cameras
MAX_SIDE_PX = 65_535  # JPEG's own limit; a line of 256 million pixels would be cropped for hours
MAX_DECODED_MIB = 768  # so many pixels in 8-bit RGB, or half of them in 16 bits
# Above this, a photo has at least a byte for every hundred pixels: JPEG needs more even for one
# color, and no camera saves less. Of a few bytes one can make any number of pixels.
FREE_PIXELS = 40_000_000
PIXELS_PER_BYTE = 100
ORIENTATION = 0x0112
# What Pillow's readers raise for damaged or malicious files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, RuntimeError, EOFError, struct.error, zlib.error,
)  # fmt: skip


class Refused(Exception):
    """A photo that is not read.

    Args:
        reason: continues "Photo x.png ...".
        hint: what to do about it.
    """

    def __init__(self, reason: str, hint: str = SAVE_EIGHT_BITS) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclass(frozen=True)
class Picture:
    """Decoded pixels as the file stores them.

    Args:
        pixels: an 8-bit image without alpha, or deep samples (H, W, 1 or 3) of uint16.
        alpha: opacity as an 8-bit image; None if all is opaque.
        orientation: EXIF orientation that is still to be applied.
    """

    pixels: Image | NDArray[Any]
    alpha: Image | None = None
    orientation: int = 1
    meaning: Meaning = field(default_factory=Meaning)


def check_bounds(size: tuple[int, int], file_bytes: int, bytes_per_pixel: float = 3) -> None:
    """Refuse what would take too much memory or time, by what its header says.

    Raises:
        Refused: too many pixels, or too few bytes for them.
    """
    width, height = size
    pixels = width * height
    if max(size) > MAX_SIDE_PX or not 0 < pixels <= MAX_PIXELS:
        raise Refused(
            f"has {width} x {height} pixels",
            f"Use a photo of up to {MAX_PIXELS // 1_000_000} million pixels, and up to "
            f"{MAX_SIDE_PX} on a side.",
        )
    mib = int(pixels * bytes_per_pixel) >> 20
    if mib > MAX_DECODED_MIB:
        raise Refused(f"has {mib:,} of at most {MAX_DECODED_MIB} MiB when decoded")
    if pixels > max(FREE_PIXELS, PIXELS_PER_BYTE * file_bytes):
        raise Refused(f"has {width} x {height} pixels in only {file_bytes:,} bytes")


def pillow_file(module: str, reader: str, stream: BinaryIO) -> Any:
    """Read only the header, with one of Pillow's readers.

    Unlike `Image.open`, this ignores Pillow's pixel limit, a global that hosts change.
    """
    return getattr(import_module(f"PIL.{module}"), reader)(stream)


def picture_of(image: Image, meaning: Meaning | None = None, orientation: int = 1) -> Picture:
    """Decode a Pillow file of 8-bit samples, and take its alpha apart.

    Args:
        meaning: of its colors; by default what its profile and EXIF say.
    """
    if meaning is None:  # before the pixels: older versions of Pillow then close the file
        meaning = exif_meaning(exif_of(image), image.info.get("icc_profile"))
    image.load()
    alpha = None
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGBA") if image.mode in ("P", "RGBa") else image
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    return Picture(image, alpha, orientation, meaning)


def exif_of(image: Image) -> Any:
    """Return an image's EXIF; damaged EXIF counts as none, because the pixels are whole."""
    from PIL import Image as pillow

    try:
        exif = image.getexif()
        exif.get(ORIENTATION)
    except UNREADABLE:
        return pillow.Exif()
    return exif


def exif_from(data: bytes) -> Any:
    """Return EXIF of its bytes; damaged EXIF counts as none."""
    from PIL import Image as pillow

    exif = pillow.Exif()
    try:
        exif.load(data)
    except UNREADABLE:
        return pillow.Exif()
    return exif


def orientation_of(exif: Any) -> int:
    """Return EXIF's orientation, 1 if it has none."""
    try:
        found = exif.get(ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return found if found in range(1, 9) else 1
