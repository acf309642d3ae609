"""From photos to the images of a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...config.concept import InstanceConfig
from ...photos.crops import crops_of
from ...photos.images import Photo
from ...runs.control import Report
from ...runs.events import Status
from .image_sets import TrainingImage, training_image
from .latents import LatentCache

__all__ = ["Encoder"]


@dataclass(frozen=True)
class Encoder:
    """Cuts photos into crops and encodes them.

    Args:
        check_stop: called before every crop; raises Stop.
    """

    latents: LatentCache
    report: Report
    check_stop: Callable[[], None]

    def encode(self, photos: Sequence[Photo], config: InstanceConfig) -> list[TrainingImage]:
        """Return every crop of the photos, ready to be trained."""
        images: list[TrainingImage] = []
        for index, photo in enumerate(photos):
            self.check_stop()
            self.report(Status("caching", index, len(photos)))
            for crop in crops_of(photo, config, index):
                self.check_stop()
                latents = self.latents.latents(crop, photo.path.name)
                images.append(training_image(crop, photo.caption, latents))
        self.report(Status("caching", len(photos), len(photos)))
        return images
