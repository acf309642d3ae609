"""Photos: decoded upright as sRGB, and paired with captions."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..config.concept import InstanceConfig
from ..errors import ConfigError, visible
from ..files.input_file import check_is_file
from .captions import Caption, CaptionFiles, read_caption
from .color import to_rgb
from .folder import FORMATS_HINT, find_photos
from .heic import open_heic

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Photo", "has_more_frames", "load_photo", "load_photos", "read_photo", "starts_like_photo",
]  # fmt: skip

SAVE_AGAIN = "Save it again as JPEG or PNG, or remove it."
MAX_PIXELS = 256_000_000  # above the 200 megapixels of the largest phone cameras
MAX_SIDE_PX = 65_535  # JPEG's own limit; a line of 256 million pixels would be cropped for hours
MAX_PHOTO_MIB = 512  # some readers go through a file byte by byte, or keep all of it in memory
# First bytes, Pillow module, reader. Only these few: Image.open can also start Ghostscript.
READERS = (
    (b"\xff\xd8\xff", "JpegImagePlugin", "jpeg_factory"),
    (b"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (b"RIFF", "WebPImagePlugin", "WebPImageFile"),
    (b"BM", "BmpImagePlugin", "BmpImageFile"),
    (b"GIF8", "GifImagePlugin", "GifImageFile"),
    (b"II*\0", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\0*", "TiffImagePlugin", "TiffImageFile"),
)
ANIMATED = ("GIF", "PNG", "TIFF", "WEBP")  # a JPEG's further pictures are previews
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# What Pillow's readers raise for damaged or malicious files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    AssertionError, RuntimeError, EOFError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """A photo that was decoded once, and its caption.

    Args:
        size: width and height in pixels after EXIF orientation.
        transparent: some pixel shows the background color.
        source: where the caption is from.
    """

    path: Path
    size: tuple[int, int]
    caption: str
    transparent: bool
    source: Caption = Caption("")

    @property
    def name(self) -> str:
        """The file's name, safe to show."""
        return visible(self.path.name)


def read_photo(path: str | Path, background: str = "#ffffff") -> Image:
    """Decode a photo's first frame, upright, as 8-bit sRGB on the background color.

    Raises:
        ConfigError: the file is not a photo, is damaged or is too large; names the file.
    """
    from PIL import Image

    color = parse_color(background)
    image = decode_photo(Path(path))
    if image.mode == "RGB":
        return image
    opaque = Image.new("RGB", image.size, color)
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def parse_color(background: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        raise ConfigError(f"background is {background!r}.", "Give a color as #rrggbb.") from None


def decode_photo(path: Path) -> Image:
    """Decode the first frame upright: RGB, or RGBA if some pixel is transparent."""
    from PIL import Image

    check_is_file(path)
    try:
        with path.open("rb") as stream:
            check_bytes(stream, path)
            image = open_header(stream, path)
            check_pixels(image.size, path)
            return to_rgb(upright(image))
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise ConfigError(f"Photo {path} cannot be read: {error}.", SAVE_AGAIN) from error


def open_header(stream: BinaryIO, path: Path) -> Image:
    """Read only the header, with the format's own reader.

    Unlike `Image.open`, this ignores Pillow's pixel limit, a global that hosts change.
    """
    head = stream.read(12)
    stream.seek(0)
    if not head:
        raise ConfigError(f"Photo {path} is empty (0 bytes).", "Copy it again, or remove it.")
    if is_heic(head):
        return open_heic(stream, path)
    for start, module, reader in READERS:
        if head.startswith(start):
            return getattr(import_module(f"PIL.{module}"), reader)(stream)
    raise ConfigError(f"Photo {path} is not an image of a known format.", FORMATS_HINT)


def has_more_frames(path: Path) -> bool:
    """Whether a file that can be read has frames or pages after the first."""
    try:
        with path.open("rb") as stream:
            image = open_header(stream, path)
            return image.format in ANIMATED and getattr(image, "is_animated", False)
    except UNREADABLE:  # in what follows the first frame
        return False


def starts_like_photo(head: bytes) -> bool:
    """Return whether a file with these first 12 bytes may be a photo of a known format."""
    return is_heic(head) or head.startswith(tuple(start for start, _, _ in READERS))


def is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS


def check_bytes(stream: BinaryIO, path: Path) -> None:
    mib = os.fstat(stream.fileno()).st_size >> 20
    if mib > MAX_PHOTO_MIB:
        raise ConfigError(f"Photo {path} has {mib:,} of at most {MAX_PHOTO_MIB} MiB.", SAVE_AGAIN)


def check_pixels(size: tuple[int, int], path: Path) -> None:
    width, height = size
    if max(size) > MAX_SIDE_PX or not 0 < width * height <= MAX_PIXELS:
        raise ConfigError(
            f"Photo {path} has {width} x {height} pixels.",
            f"Use a photo of up to {MAX_PIXELS // 1_000_000} million pixels, and up to "
            f"{MAX_SIDE_PX} on a side.",
        )


def upright(image: Image) -> Image:
    """Decode the pixels and apply EXIF orientation."""
    from PIL import ImageOps

    if image.format == "TIFF":  # its reader applies the tag, and in Pillow 9.5 leaves it
        image.load()
        return image
    return ImageOps.exif_transpose(image)


def load_photos(config: InstanceConfig, on_skip: Callable[[ConfigError], None]) -> list[Photo]:
    """Find the photos, decode each completely once, and pair it with its caption.

    Args:
        on_skip: called for each photo left out: bad while `config.bad_images` is "skip".

    Raises:
        ConfigError: a photo or caption is bad and not skipped, or no photo is left.
    """
    parse_color(config.background)
    photos: list[Photo] = []
    captions = CaptionFiles()
    for path in find_photos(config.instance_images):
        try:
            photos.append(load_photo(path, config, captions))
        except ConfigError as error:
            if config.bad_images == "refuse":
                raise
            on_skip(error)
    if not photos:
        raise ConfigError(f"No photo of {config.instance_images} can be used.", FORMATS_HINT)
    return photos


def load_photo(path: Path, config: InstanceConfig, captions: CaptionFiles | None = None) -> Photo:
    """Decode one photo completely and pair it with its caption.

    Raises:
        ConfigError: the photo or its caption is bad; names the file.
    """
    check_name(path)
    image = decode_photo(path)
    caption = read_caption(path, config.caption_mode, config.instance_prompt, captions)
    return Photo(path, image.size, caption.text, image.mode == "RGBA", caption)


def check_name(path: Path) -> None:
    """Refuse a name that is not valid text, as from an archive in an old encoding on Linux."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"Photo {path} has a name that is not UTF-8.", "Rename it.") from None
