"""Photos: files found, decoded upright as sRGB, paired with captions and cut into crops."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from io import BytesIO
from itertools import product
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
BUCKET_STEP_PX = 64
MAX_ZOOM = 1.15
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


@dataclass(frozen=True)
class Window:
    """Where a crop lies in the resized photo: (width, height) sizes and a (y, x) corner."""

    resized: tuple[int, int]
    top_left: tuple[int, int]
    size: tuple[int, int]

    def mirrored(self) -> Window:
        """The same part of the photo where the photo was mirrored first."""
        top, left = self.top_left
        return replace(self, top_left=(top, self.resized[0] - self.size[0] - left))


@dataclass(frozen=True)
class Crop:
    """An image as it is trained, with the numbers of SDXL's size and crop conditioning.

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
        return self.image.height, self.image.width


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


def crops_of(photo: Photo, config: InstanceConfig, seed: int, index: int) -> list[Crop]:
    """Decode a photo once and cut its crops; with `flip`, their mirror images follow.

    Args:
        photo: only its path is used.
        index: the photo's place in its set; it and `seed` alone choose random crops.
    """
    image = read_photo(photo.path, config.background)
    windows = windows_of(image.size, config, seed=seed, index=index)
    size = (image.height, image.width)
    crops = [Crop(cut(image, window), size, window.top_left, flipped=False) for window in windows]
    if config.flip:
        crops += [mirror(crop, window) for crop, window in zip(crops, windows, strict=True)]
    return crops


def mirror(crop: Crop, window: Window) -> Crop:
    from PIL import ImageOps

    top_left = window.mirrored().top_left
    return replace(crop, image=ImageOps.mirror(crop.image), top_left=top_left, flipped=True)


def cut(image: Image, window: Window) -> Image:
    """Resize only the window's part of the photo, however long the photo is."""
    from PIL.Image import Resampling

    (top, left), (width, height) = window.top_left, window.size
    x_step, y_step = image.width / window.resized[0], image.height / window.resized[1]
    right = min((left + width) * x_step, image.width)
    bottom = min((top + height) * y_step, image.height)
    box = (left * x_step, top * y_step, right, bottom)
    return image.resize(window.size, Resampling.LANCZOS, box=box, reducing_gap=3.0)


def windows_of(
    size: tuple[int, int], config: InstanceConfig, *, seed: int, index: int
) -> list[Window]:
    """Choose the crops of a photo of (width, height) `size`.

    center: `num_crops` squares of the shorter side, evenly spread along the longer from end to
    end; a single one is centred; those of a square photo are all the same.
    random: squares at random positions; several have a random zoom of 1 to MAX_ZOOM each.
    none: one crop, the whole photo in the bucket nearest to its shape, centred.
    """
    if config.crop_mode == "none":
        return [centered_window(size, nearest_bucket(size, config.resolution))]
    if config.crop_mode == "random":
        return list(random_windows(size, config, seed=seed, index=index))
    return list(spread_windows(size, config))


def covering(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The smallest size of the photo's own shape that covers the target."""
    scale = max(target[0] / size[0], target[1] / size[1])
    return max(target[0], round(size[0] * scale)), max(target[1], round(size[1] * scale))


def centered_window(size: tuple[int, int], target: tuple[int, int]) -> Window:
    width, height = covering(size, target)
    return Window((width, height), ((height - target[1]) // 2, (width - target[0]) // 2), target)


def spread_windows(size: tuple[int, int], config: InstanceConfig) -> Iterator[Window]:
    square = (config.resolution, config.resolution)
    width, height = covering(size, square)
    for number in range(config.num_crops):
        part = number / (config.num_crops - 1) if config.num_crops > 1 else 0.5
        top, left = int((height - square[1]) * part), int((width - square[0]) * part)
        yield Window((width, height), (top, left), square)


def random_windows(
    size: tuple[int, int], config: InstanceConfig, *, seed: int, index: int
) -> Iterator[Window]:
    import numpy as np

    rng = np.random.default_rng((seed, index))
    square = (config.resolution, config.resolution)
    for _ in range(config.num_crops):
        zoom = 1 + (MAX_ZOOM - 1) * rng.random() if config.num_crops > 1 else 1.0
        side = round(config.resolution * zoom)
        width, height = covering(size, (side, side))
        top = int(rng.random() * (height - square[1] + 1))
        left = int(rng.random() * (width - square[0] + 1))
        yield Window((width, height), (top, left), square)


def nearest_bucket(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """The bucket whose shape is nearest to the photo's; of equally near ones the larger."""
    aspect = math.log(size[0] / size[1])

    def distance(bucket: tuple[int, int]) -> tuple[float, int]:
        width, height = bucket
        return round(abs(math.log(width / height) - aspect), 9), -width * height

    return min(buckets(resolution), key=distance)


def buckets(resolution: int) -> list[tuple[int, int]]:
    """Sides in steps of 64 from half the resolution on that fill resolution² as far as they can."""
    area, step = resolution**2, BUCKET_STEP_PX
    least = math.ceil(resolution / 2 / step) * step
    sides = range(least, area // least + 1, step)
    return [
        (width, height)
        for width, height in product(sides, sides)
        if width * height <= area < min((width + step) * height, width * (height + step))
    ]
