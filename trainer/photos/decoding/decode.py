"""Decodes a photo of any format that is read: upright, as 8-bit sRGB."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...errors import ConfigError
from ...files.input_file import check_is_file
from .bmp import read_bmp
from .color import to_srgb
from .heif import brand, can_read, read_avif, read_elsewhere, read_heic
from .picture import (
    UNREADABLE,
    Picture,
    Refused,
    check_bounds,
    exif_of,
    orientation_of,
    picture_of,
    pillow_file,
)  # fmt: skip
from .png import read_png
from .tiff import read_tiff

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "FORMATS_HINT", "MAX_PHOTO_MIB", "SAVE_AGAIN", "decode_photo", "decode_stream",
    "has_more_frames", "starts_like_photo",
]  # fmt: skip

SAVE_AGAIN = "Save it again as JPEG or PNG, or remove it."
FORMATS_HINT = "Give JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF photos."
MAX_PHOTO_MIB = 512  # some readers go through a file byte by byte, or keep all of it in memory
ANIMATED = ("GIF", "WEBP", "PNG", "TIFF")
Reader = Callable[[BinaryIO, int], Picture]


def decode_photo(path: Path) -> Image:
    """Decode the first frame: RGB, or RGBA if some pixel is transparent.

    Raises:
        ConfigError: the file is not a photo, is damaged or is too large; names the file.
    """
    check_is_file(path)
    try:
        with path.open("rb") as stream:
            return decode_stream(stream, path)
    except OSError as error:
        raise ConfigError(f"Photo {path} cannot be read: {error}.", SAVE_AGAIN) from error


def decode_stream(stream: BinaryIO, path: Path, *, here: bool = False) -> Image:
    """Decode an open photo file; `path` is its name in errors.

    Args:
        here: do not ask the trainer's environment where this Python lacks a package.

    Raises:
        ConfigError: as `decode_photo`.
    """
    from PIL import Image as pillow

    try:
        return finished(read(stream, path, here))
    except Refused as error:
        raise ConfigError(f"Photo {path} {error.reason}.", error.hint) from error
    except (*UNREADABLE, pillow.DecompressionBombError) as error:
        raise ConfigError(f"Photo {path} cannot be read: {error}.", SAVE_AGAIN) from error


def read(stream: BinaryIO, path: Path, here: bool) -> Picture:
    """Let the reader of the file's format decode it."""
    file_bytes = os.fstat(stream.fileno()).st_size
    if file_bytes >> 20 > MAX_PHOTO_MIB:
        raise Refused(f"has {file_bytes >> 20:,} of at most {MAX_PHOTO_MIB} MiB", SAVE_AGAIN)
    if not file_bytes:
        raise Refused("is empty (0 bytes)", "Copy it again, or remove it.")
    kind = brand(stream)
    if kind and not here and not can_read(kind):
        return read_elsewhere(path, kind)
    return reader_of(stream, kind)(stream, file_bytes)


def starts_like_photo(path: Path) -> bool:
    """Whether a file begins as one of the formats that are read."""
    with path.open("rb") as stream:
        kind, head = brand(stream), stream.read(12)
    return bool(kind) or head.startswith(tuple(start for start, _ in READERS))


def has_more_frames(path: Path) -> bool:
    """Whether a file that can be read has frames or pages after the first."""
    from PIL import Image as pillow

    try:
        with pillow.open(path, formats=ANIMATED) as image:
            return bool(getattr(image, "is_animated", False))
    except (*UNREADABLE, pillow.DecompressionBombError):
        return False


def reader_of(stream: BinaryIO, kind: str) -> Reader:
    if kind:
        return read_heic if kind == "HEIC" else read_avif
    head = stream.read(12)
    stream.seek(0)
    for start, reader in READERS:
        if head.startswith(start):
            return reader
    raise Refused("is not an image of a known format", FORMATS_HINT)


def finished(picture: Picture) -> Image:
    """Return sRGB pixels, turned upright, with alpha only if some pixel is transparent."""
    image = to_srgb(picture.pixels, picture.meaning)
    image.info = {}  # a palette's transparency or profile must not reach a saved crop
    extrema = (255, 255) if picture.alpha is None else picture.alpha.getextrema()
    if extrema == (0, 0):
        raise Refused("is wholly transparent", "Use a photo that shows something, or remove it.")
    if picture.alpha is not None and extrema != (255, 255):
        image.putalpha(picture.alpha)
    return turned(image, picture.orientation)


def turned(image: Image, orientation: int) -> Image:
    """Apply EXIF's orientation."""
    from PIL.Image import Transpose

    turns = (
        None, Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM,
        Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90,
    )  # fmt: skip
    turn = turns[orientation - 1]
    return image if turn is None else image.transpose(turn)


def simple(module: str, reader: str) -> Reader:
    """Return the reader of a format that is all Pillow's."""

    def read_simple(stream: BinaryIO, file_bytes: int) -> Picture:
        image = pillow_file(module, reader, stream)
        check_bounds(image.size, file_bytes, len(image.getbands()))
        return picture_of(image, orientation=orientation_of(exif_of(image)))

    return read_simple


# By first bytes. Only these few: Image.open can also start Ghostscript.
READERS: tuple[tuple[bytes, Reader], ...] = (
    (b"\xff\xd8\xff", simple("JpegImagePlugin", "jpeg_factory")),
    (b"\x89PNG\r\n\x1a\n", read_png),
    (b"RIFF", simple("WebPImagePlugin", "WebPImageFile")),
    (b"BM", read_bmp),
    (b"GIF8", simple("GifImagePlugin", "GifImageFile")),
    (b"II*\0", read_tiff),
    (b"MM\0*", read_tiff),
    (b"II+\0", read_tiff),
    (b"MM\0+", read_tiff),
)
