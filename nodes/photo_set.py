"""A set of photos, loaded and cropped; imported when a node runs, not at ComfyUI's start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from ..trainer.config.concept import InstanceConfig
from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import file_sha256, settings_key
from ..trainer.photos.crops import Crop, crops_of
from ..trainer.photos.images import Photo, find_photos, load_photos, photos_at
from ..trainer.photos.report import Report, inspect_photos
from ..trainer.prompts.tokenizer import token_count

__all__ = ["PhotoSet", "find_photos", "load_photo_set", "photos_at"]


@dataclass(frozen=True)
class PhotoSet:
    """Photos as they will be trained.

    Args:
        key: one text for the photos in their order, each with its caption.
        crops: the first ones, as they will be trained.
    """

    key: str
    report: Report
    crops: Sequence[Crop]


def load_photo_set(
    config: InstanceConfig, num_shown: int, on_skip: Callable[[ConfigError], None]
) -> PhotoSet:
    """Load and check the photos, and cut the first `num_shown` crops.

    Raises:
        ConfigError: one cannot be used and is not to be skipped, or none is left.
    """
    photos = load_photos(config, on_skip)
    crops = (crop for i, photo in enumerate(photos) for crop in crops_of(photo, config, i))
    report = inspect_photos(photos, config, token_count)
    return PhotoSet(photos_key(photos), report, list(islice(crops, num_shown)))


def photos_key(photos: Sequence[Photo]) -> str:
    pairs = [(file_sha256(photo.path), photo.caption) for photo in photos]
    return settings_key({"photos": pairs})
