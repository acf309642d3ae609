"""Photos: found, decoded upright as sRGB, and paired with captions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.concept import InstanceConfig
from ..errors import ConfigError, visible
from .captions import read_caption
from .decoding.decode import FORMATS_HINT, SAVE_AGAIN, decode_photo
from .looks import Look, look_at

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Photo", "find_photos", "load_photo", "load_photos", "photos_at", "read_photo"]

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic",
    ".heif", ".hif", ".avif",
)  # fmt: skip
UNREAD_SUFFIXES = (  # images, but of formats that are not read
    ".jxl", ".jp2", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
)  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """A photo that was decoded once, and its caption.

    Args:
        size: width and height in pixels after EXIF orientation.
        transparent: some pixel shows the background color.
        look: how it looks on its background.
    """

    path: Path
    size: tuple[int, int]
    caption: str
    transparent: bool
    look: Look

    @property
    def name(self) -> str:
        """The file's name, safe to show."""
        return visible(self.path.name)


def find_photos(sources: Sequence[str | Path]) -> list[Path]:
    """Return the image files of folders (not their subfolders) and single files, each once.

    Raises:
        ConfigError: a source does not exist or contains no photo.
    """
    if not sources:
        raise ConfigError("There are no photos.", FORMATS_HINT)
    found: dict[Path, Path] = {}
    for source in sources:
        for path in photos_at(Path(source)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def unread_photos(sources: Sequence[str | Path]) -> list[Path]:
    """Return the images in folders that are left out because their format is not read."""
    folders = [Path(source) for source in sources if Path(source).is_dir()]
    files = (path for folder in folders for path in folder.iterdir() if path.is_file())
    return sorted(path for path in files if path.suffix.lower() in UNREAD_SUFFIXES)


def photos_at(source: Path) -> list[Path]:
    """Return a single file as it is, or a folder's photos in natural order.

    Raises:
        ConfigError: the source does not exist or contains no photo.
    """
    try:
        if source.is_file():
            return [source]
        files = [path for path in source.iterdir() if is_photo_name(path) and path.is_file()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be opened"
        hint = "Give an existing folder or file."
        raise ConfigError(f"Photos {source}: {reason}.", hint) from None
    if not files:
        raise ConfigError(f"Folder {source} contains no photos.", FORMATS_HINT)
    return sorted(files, key=natural_key)


def is_photo_name(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural_key(path: Path) -> tuple[list[str | int], str]:
    """Return a sort key that puts photo2 before photo10."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def read_photo(path: str | Path, background: str = "#ffffff") -> Image:
    """Decode a photo's first frame, upright, as 8-bit sRGB on the background color.

    Raises:
        ConfigError: the file is not a photo, is damaged or is too large; names the file.
    """
    color = parse_color(background)
    return on_background(decode_photo(Path(path)), color)


def on_background(image: Image, color: tuple[int, ...]) -> Image:
    from PIL import Image as pillow

    if image.mode == "RGB":
        return image
    opaque = pillow.new("RGB", image.size, color)
    opaque.paste(image, mask=image.getchannel("A"))
    return opaque


def parse_color(background: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        raise ConfigError(f"background is {background!r}.", "Give a color as #rrggbb.") from None


def load_photos(
    config: InstanceConfig,
    on_skip: Callable[[ConfigError], None],
    *,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
    on_image: Callable[[Photo, Image], None] = lambda photo, image: None,
) -> list[Photo]:
    """Find the photos, decode each completely once, and pair it with its caption.

    Args:
        on_skip: called for each photo left out: of a format that is not read, or bad while
            `config.bad_images` is "skip".
        on_photo: called before each photo with how many were read, of how many; raises to cancel.
        on_image: called with each good photo and its pixels, which are not kept.

    Raises:
        ConfigError: a photo or caption is bad and not skipped, or no photo is left.
    """
    parse_color(config.background)
    photos: list[Photo] = []
    paths = find_photos(config.instance_images)
    for index, path in enumerate(paths):
        on_photo(index, len(paths))
        try:
            photo, image = load_photo(path, config)
            photos.append(photo)
            on_image(photo, image)
        except ConfigError as error:
            if config.bad_images == "refuse":
                raise
            on_skip(error)
    for path in unread_photos(config.instance_images):
        on_skip(ConfigError(f"Photo {path} is left out: its format is not read.", SAVE_AGAIN))
    if not photos:
        raise ConfigError(f"No photo of {config.instance_images} can be used.", FORMATS_HINT)
    return photos


def load_photo(path: Path, config: InstanceConfig) -> tuple[Photo, Image]:
    """Decode one photo completely and pair it with its caption; return its pixels too.

    Raises:
        ConfigError: the photo or its caption is bad; names the file.
    """
    check_name(path)
    image = decode_photo(path)
    caption = read_caption(path, config.caption_mode, config.instance_prompt)
    opaque = on_background(image, parse_color(config.background))
    photo = Photo(path, image.size, caption, image.mode == "RGBA", look_at(opaque))
    return photo, opaque


def check_name(path: Path) -> None:
    """Refuse a name that is not valid text, as from an archive in an old encoding on Linux."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"Photo {path} has a name that is not UTF-8.", "Rename it.") from None
