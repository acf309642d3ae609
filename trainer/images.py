"""Photos: files found, decoded upright as sRGB and paired with captions."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .config import CaptionMode, InstanceConfig
from .errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"
)  # fmt: skip
FORMATS_HINT = "Give JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC photos."
MAX_PIXELS = 256_000_000  # above the 200 megapixels of the largest phone cameras
MAX_CAPTION_BYTES = 64 * 1024
# File beginning, Pillow module, reader. These few only: Image.open also starts Ghostscript.
READERS = (
    (b"\xff\xd8\xff", "JpegImagePlugin", "jpeg_factory"),
    (b"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (b"RIFF", "WebPImagePlugin", "WebPImageFile"),
    (b"BM", "BmpImagePlugin", "BmpImageFile"),
    (b"GIF8", "GifImagePlugin", "GifImageFile"),
    (b"II*\0", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\0*", "TiffImagePlugin", "TiffImageFile"),
)
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# What Pillow's readers raise on files that are damaged or made to harm.
UNREADABLE = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
    RuntimeError, EOFError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """A photo that decodes, as its file holds it.

    Args:
        size: width and height in pixels after EXIF orientation.
        transparent: some pixel shows the background colour.
    """

    path: Path
    size: tuple[int, int]
    caption: str
    transparent: bool


def find_photos(sources: Sequence[str | Path]) -> list[Path]:
    """List the image files of folders (not of their subfolders) and single files, each once.

    Raises:
        ConfigError: a source does not exist or holds no photo.
    """
    if not sources:
        raise ConfigError("There are no photos.", FORMATS_HINT)
    found: dict[Path, Path] = {}
    for source in sources:
        for path in photos_at(Path(source)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def photos_at(source: Path) -> list[Path]:
    try:
        if source.is_file():
            return [source]
        files = [path for path in source.iterdir() if is_photo_name(path) and path.is_file()]
    except OSError as error:
        reason = error.strerror or "cannot be opened"
        raise ConfigError(
            f"Photos {source}: {reason}.", "Give an existing folder or file."
        ) from None
    if not files:
        raise ConfigError(f"Folder {source} holds no photos.", FORMATS_HINT)
    return sorted(files, key=natural_key)


def is_photo_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Sort key by which photo2 comes before photo10."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def read_photo(path: str | Path, background: str = "#ffffff") -> Image:
    """Decode a photo's first frame, upright, as 8-bit sRGB on the background colour.

    Raises:
        ConfigError: the file is no photo, damaged or above MAX_PIXELS; it names the file.
    """
    from PIL import Image

    colour = parse_colour(background)
    image = decode_photo(Path(path))
    if image.mode == "RGB":
        return image
    opaque = Image.new("RGB", image.size, colour)
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def parse_colour(background: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        raise ConfigError(f"background is {background!r}.", "Give a colour as #rrggbb.") from None


def decode_photo(path: Path) -> Image:
    """Decode the first frame upright: RGB, or RGBA where some pixel is transparent."""
    from PIL import Image

    try:
        with path.open("rb") as stream:
            image = open_header(stream, path)
            check_pixels(image.size, path)
            return to_rgb(upright(image))
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise ConfigError(
            f"Photo {path} cannot be read: {error}.", "Save it again as JPEG or PNG, or remove it."
        ) from error


def open_header(stream: BinaryIO, path: Path) -> Image:
    """Read the header only, by the format's own reader.

    Unlike `Image.open` this does not consult Pillow's pixel limit, a global that hosts change.
    """
    head = stream.read(12)
    stream.seek(0)
    if not head:
        raise ConfigError(f"Photo {path} is empty (0 bytes).", "Copy it again, or remove it.")
    if head[4:8] == b"ftyp" and head[8:] in HEIC_BRANDS:
        return open_heic(stream, path)
    for beginning, module, reader in READERS:
        if head.startswith(beginning):
            return getattr(import_module(f"PIL.{module}"), reader)(stream)
    raise ConfigError(f"Photo {path} is not an image of a known format.", FORMATS_HINT)


def open_heic(stream: BinaryIO, path: Path) -> Image:
    try:
        pillow_heif = import_module("pillow_heif")
    except ImportError:
        raise ConfigError(
            f"Photo {path} is HEIC, which needs the package pillow-heif.",
            "Convert it to JPEG, or run pip install pillow-heif in the trainer's environment.",
        ) from None
    return pillow_heif.HeifImageFile(stream)


def check_pixels(size: tuple[int, int], path: Path) -> None:
    width, height = size
    if not 0 < width * height <= MAX_PIXELS:
        raise ConfigError(
            f"Photo {path} has {width} x {height} pixels.",
            f"Give photos of 1 to {MAX_PIXELS // 1_000_000} million pixels; scale this one down.",
        )


def upright(image: Image) -> Image:
    """Decode the pixels and apply EXIF orientation."""
    from PIL import ImageOps

    if image.format == "TIFF":  # its reader turns by itself, and in Pillow 9.5 leaves the tag
        image.load()
        return image
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image) -> Image:
    """Convert any mode to 8-bit sRGB, with alpha only where some pixel is transparent."""
    if image.mode.startswith(("I", "F")):
        image = to_eight_bits(image)
    elif image.mode == "P":
        image = image.convert("RGBA")
    alpha = None
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    image = to_srgb(image)
    image.info = {}  # a palette's transparency or profile must not reach a saved crop
    if alpha is not None and alpha.getextrema() != (255, 255):
        image.putalpha(alpha)
    return image


def to_eight_bits(image: Image) -> Image:
    """Scale deep grey; white is 65535, for floats 1 or 255 if that holds all, or the brightest."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    whites = (1, 255, 65535) if image.mode == "F" else (65535,)
    white = next((white for white in whites if values.max() <= white), values.max())
    grey = Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))
    if "transparency" in image.info:  # a 16-bit PNG's one transparent shade
        opaque = values != image.info["transparency"]
        grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    grey.info["icc_profile"] = image.info.get("icc_profile")
    return grey


def to_srgb(image: Image) -> Image:
    """Convert to RGB by the embedded profile; one that does not fit counts as none."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode not in ("L", "CMYK"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
    return transform.apply(image)


def read_caption(path: Path, mode: CaptionMode, instance_prompt: str) -> str:
    """The prompt that a photo is trained with: its .txt file's text or the instance prompt.

    Raises:
        ConfigError: the .txt is missing or empty in mode txt, too long, or not UTF-8.
    """
    if mode == "prompt":
        return instance_prompt
    file = path.with_suffix(".txt")
    caption = " ".join(read_text(file).split()) if file.is_file() else ""
    if not caption and mode == "txt":
        raise ConfigError(
            f"Photo {path} has no caption in {file.name}.",
            "Write one, or choose another caption_mode.",
        )
    return caption or instance_prompt


def read_text(file: Path) -> str:
    if file.stat().st_size > MAX_CAPTION_BYTES:
        raise ConfigError(f"Caption {file} is over 64 KiB.", "Give one line of text.")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"Caption {file} is not UTF-8.", "Save it as UTF-8 text.") from None


def load_photos(config: InstanceConfig, on_skip: Callable[[ConfigError], None]) -> list[Photo]:
    """Find the photos, decode each fully once and pair it with its caption.

    Args:
        on_skip: told of each photo left out, where `config.bad_images` is "skip".

    Raises:
        ConfigError: a photo or caption is bad and not skipped, or no photo is left.
    """
    parse_colour(config.background)
    photos: list[Photo] = []
    for path in find_photos(config.instance_images):
        try:
            photos.append(load_photo(path, config))
        except ConfigError as error:
            if config.bad_images == "refuse":
                raise
            on_skip(error)
    if not photos:
        raise ConfigError(f"No photo of {config.instance_images} can be used.", FORMATS_HINT)
    return photos


def load_photo(path: Path, config: InstanceConfig) -> Photo:
    image = decode_photo(path)
    caption = read_caption(path, config.caption_mode, config.instance_prompt)
    return Photo(path, image.size, caption, transparent=image.mode == "RGBA")
