"""Loads and crops a set of photos; imported when a node runs, to keep ComfyUI's start fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..trainer.config.concept import InstanceConfig
from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import file_sha256, settings_key
from ..trainer.photos.captions import CaptionFiles
from ..trainer.photos.crops import Crop, FirstCrops
from ..trainer.photos.folder import find_photos, photos_at
from ..trainer.photos.images import Photo, load_photos
from ..trainer.photos.report import Report, inspect_photos, skip_notes
from ..trainer.prompts.tokenizer import token_count

__all__ = [
    "CaptionFiles", "PhotoSet", "find_photos", "load_photo_set", "photos_at", "skipped_texts",
]  # fmt: skip


@dataclass(frozen=True)
class PhotoSet:
    """Photos prepared for training.

    Args:
        key: fingerprint of the photos and their captions, in order.
        crops: the first training crops.
    """

    key: str
    report: Report
    crops: Sequence[Crop]


def load_photo_set(
    config: InstanceConfig,
    num_shown: int,
    on_skip: Callable[[ConfigError], None],
    on_photo: Callable[[int, int], None],
) -> PhotoSet:
    """Load and check the photos, and cut the first `num_shown` crops.

    Args:
        on_skip: called with the error for each photo that is skipped.
        on_photo: called before each photo with how many were read, of how many; raises to cancel.

    Raises:
        ConfigError: a photo is unusable and `bad_images` is refuse, or no photo is left.
    """
    crops = FirstCrops(config, num_shown)
    photos = load_photos(config, on_skip, on_photo=on_photo, on_image=crops.add)
    report = inspect_photos(photos, config, token_count)
    return PhotoSet(photos_key(photos), report, [crop for _, crop in crops.found])


def skipped_texts(errors: Sequence[ConfigError]) -> list[str]:
    """Return what to say of skipped photos: of many, a few."""
    return [f"{note.message} {note.hint}" for note in skip_notes(errors)]


def photos_key(photos: Sequence[Photo]) -> str:
    pairs = [(file_sha256(photo.path), photo.caption) for photo in photos]
    return settings_key({"photos": pairs})
