"""Photos: found, decoded upright as sRGB, and paired with captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.concept import InstanceConfig
from ..errors import ConfigError, visible
from .captions import Caption, CaptionFiles, read_caption
from .decoding.decode import FORMATS_HINT, decode_photo, has_more_frames, starts_like_photo
from .folder import find_photos
from .looks import Look, look_at

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Photo", "has_more_frames", "load_photo", "load_photos", "read_photo", "starts_like_photo",
]  # fmt: skip


@dataclass(frozen=True)
class Photo:
    """A photo that was decoded once, and its caption.

    Args:
        size: width and height in pixels after EXIF orientation.
        transparent: some pixel shows the background color.
        look: how it looks on its background.
        source: where the caption is from.
    """

    path: Path
    size: tuple[int, int]
    caption: str
    transparent: bool
    look: Look
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
        on_skip: called for each photo left out: bad while `config.bad_images` is "skip".
        on_photo: called before each photo with how many were read, of how many; raises to cancel.
        on_image: called with each good photo and its pixels, which are not kept.

    Raises:
        ConfigError: a photo or caption is bad and not skipped, or no photo is left.
    """
    parse_color(config.background)
    photos: list[Photo] = []
    captions = CaptionFiles()
    paths = find_photos(config.instance_images)
    for index, path in enumerate(paths):
        on_photo(index, len(paths))
        try:
            photo, image = load_photo(path, config, captions)
            photos.append(photo)
            on_image(photo, image)
        except ConfigError as error:
            if config.bad_images == "refuse":
                raise
            on_skip(error)
    if not photos:
        raise ConfigError(f"No photo of {config.instance_images} can be used.", FORMATS_HINT)
    return photos


def load_photo(
    path: Path, config: InstanceConfig, captions: CaptionFiles | None = None
) -> tuple[Photo, Image]:
    """Decode one photo completely and pair it with its caption; return its pixels too.

    Raises:
        ConfigError: the photo or its caption is bad; names the file.
    """
    check_name(path)
    image = decode_photo(path)
    caption = read_caption(path, config.caption_mode, config.instance_prompt, captions)
    opaque = on_background(image, parse_color(config.background))
    look = look_at(opaque)
    photo = Photo(path, image.size, caption.text, image.mode == "RGBA", look, caption)
    return photo, opaque


def check_name(path: Path) -> None:
    """Refuse a name that is not valid text, as from an archive in an old encoding on Linux."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"Photo {path} has a name that is not UTF-8.", "Rename it.") from None
