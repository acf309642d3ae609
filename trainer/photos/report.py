"""A report on a set of photos: their crops, prompts and what may spoil the result."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

from ..config.concept import InstanceConfig
from ..errors import ConfigError, visible
from .crops import Window, windows_of
from .images import Photo
from .kind_notes import kind_notes
from .leftovers import caption_summary, leftover_notes
from .looks import DUPLICATE_BITS, ONE_VIEW_BITS, Look, differing_bits
from .notes import Note, grouped

__all__ = ["PhotoReport", "Report", "grouped", "inspect_photos", "skip_notes"]

MAX_TOKENS = 77  # what a CLIP text encoder reads, start and end included
MIN_PHOTOS = 3
MIN_KEPT_FRACTION = 0.6
SKIPS_SHOWN = 20
CROP = "Crop the photo around the subject yourself, or set crop_mode to none."
NO_SHAPE_FITS = "Crop it around the subject yourself: images of its shape are not trained."
# Measured on 29 photos of 6 subjects and their Gaussian-blurred versions: the sharp ones have at
# least 387, those blurred by a radius of 6 in 1024 pixels at most 10.
MIN_SHARPNESS = 60.0


def skip_notes(errors: Sequence[ConfigError]) -> tuple[Note, ...]:
    """Return the notes on photos that are left out: of very many, the first and how many more."""
    notes = [Note("skipped_photo", error.message, error.hint) for error in errors]
    return grouped(notes, SKIPS_SHOWN)


@dataclass(frozen=True)
class PhotoReport:
    """How one photo will be trained.

    Args:
        kept_fraction: the share of the photo's area that is in some crop.
        cut_sides: the shares cropped away at left, top, right and bottom.
    """

    photo: Photo
    prompt: str
    kept_fraction: float
    cut_sides: tuple[float, float, float, float]
    notes: tuple[Note, ...]

    def text(self) -> str:
        """Return the report in words."""
        width, height = self.photo.size
        lines = [
            f"{self.photo.name}: {width} x {height} pixels",
            f'  prompt: "{visible(self.prompt)}"',
            f"  cropped away: {cut_text(self)}",
        ]
        return "\n".join(lines + [note_text(note) for note in self.notes])


@dataclass(frozen=True)
class Report:
    """How a set of photos will be trained.

    Args:
        notes: about the whole set.
        captions: how many of the photos have captions.
    """

    photos: tuple[PhotoReport, ...]
    notes: tuple[Note, ...]
    captions: str

    def warnings(self) -> tuple[Note, ...]:
        """Return all notes, those about the set first; of a kind that many have, a few."""
        return self.notes + grouped(self.photo_notes())

    def photo_notes(self) -> list[Note]:
        """Return the notes on single photos, each with its photo."""
        return [replace(n, photo=each.photo.name) for each in self.photos for n in each.notes]

    def text(self) -> str:
        """Return the report in words, one paragraph per photo."""
        number = len(self.photos)
        head = [f"{number} photo{'s' if number > 1 else ''}", self.captions]
        head += map(note_text, self.notes)
        return "\n\n".join(["\n".join(head), *(photo.text() for photo in self.photos)]) + "\n"


def note_text(note: Note) -> str:
    return f"  ! {note.code}: {note.message} {note.hint}"


def cut_text(report: PhotoReport) -> str:
    sides = zip(("left", "top", "right", "bottom"), report.cut_sides, strict=True)
    parts = [f"{share:.0%} at the {side}" for side, share in sides if share >= 0.005]
    lost = f"{1 - report.kept_fraction:.0%}"
    return f"{lost} ({', '.join(parts)})" if parts else lost


def inspect_photos(
    photos: Sequence[Photo],
    config: InstanceConfig,
    count_tokens: Callable[[str], int],
) -> Report:
    """Report on photos as they will be trained, without decoding them again.

    Args:
        count_tokens: returns how many CLIP tokens a prompt needs, start and end included.
    """
    looks = [photo.look for photo in photos]
    reports = []
    for index, photo in enumerate(photos):
        windows = windows_of(photo.size, config, index)
        boxes = [kept_box(window) for window in windows]
        kept = union_area(boxes)
        notes = (
            *crop_notes(photo, windows[0], kept, config.crop_mode),
            *look_notes(photos, looks, index),
            *caption_notes(photo, count_tokens),
            *transparency_notes(photo, config.background),
        )
        reports.append(PhotoReport(photo, photo.caption, kept, cut_sides(boxes), notes))
    notes = (*set_notes(looks), *kind_notes(config, photos, looks), *leftover_notes(photos, config))
    return Report(tuple(reports), notes, caption_summary(photos, config))


Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the photo


def kept_box(window: Window) -> Box:
    (top, left), (width, height) = window.top_left, window.size
    full_width, full_height = window.resized
    return (
        left / full_width,
        top / full_height,
        (left + width) / full_width,
        (top + height) / full_height,
    )


def union_area(boxes: Sequence[Box]) -> float:
    """Return the area that boxes cover together, one column between two box edges at a time."""
    edges = sorted({edge for left, _, right, _ in boxes for edge in (left, right)})
    return sum(
        (right - left) * union_length([box[1::2] for box in boxes if box[0] <= left < box[2]])
        for left, right in pairwise(edges)
    )


def union_length(spans: Sequence[tuple[float, ...]]) -> float:
    """Return the length that (start, end) spans cover together."""
    covered, reached = 0.0, 0.0
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def cut_sides(boxes: Sequence[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), 1 - max(rights), 1 - max(bottoms)


def crop_notes(photo: Photo, window: Window, kept: float, crop_mode: str) -> Iterator[Note]:
    name, (width, height) = photo.name, photo.size
    enlarged = max(window.size[0] / width, window.size[1] / height)
    if enlarged > 1:
        yield Note(
            "upscaled",
            f"{name} has {width} x {height} pixels; it is enlarged {enlarged:.2f} times to fill "
            f"{window.size[0]} x {window.size[1]}.",
            "Use a larger original, or lower resolution.",
        )
    if kept < MIN_KEPT_FRACTION:
        yield Note(
            "cropped_away",
            f"{1 - kept:.0%} of {name} is cropped away.",
            NO_SHAPE_FITS if crop_mode == "none" else CROP,
        )


def look_notes(photos: Sequence[Photo], looks: Sequence[Look], index: int) -> Iterator[Note]:
    name = photos[index].name
    if looks[index].sharpness < MIN_SHARPNESS:
        yield Note(
            "blurry",
            f"{name} is blurry (sharpness {looks[index].sharpness:.0f}; sharp photos have at "
            f"least {MIN_SHARPNESS:.0f}).",
            "Replace it with a sharp photo; blur is learned as part of the subject.",
        )
    for earlier in range(index):
        if differing_bits(looks[earlier], looks[index]) <= DUPLICATE_BITS:
            yield Note(
                "duplicate",
                f"{name} shows the same as {photos[earlier].name}.",
                "Remove one of the two; a photo given twice counts double.",
            )
            return


def caption_notes(photo: Photo, count_tokens: Callable[[str], int]) -> Iterator[Note]:
    needed = count_tokens(photo.caption)
    if needed > MAX_TOKENS:
        yield Note(
            "caption_cut",
            f"The caption of {photo.name} has {needed} tokens of at most {MAX_TOKENS}; cut off: "
            f'"{visible(lost_words(photo.caption, count_tokens))}".',
            "Shorten it, and put what matters first.",
        )


def lost_words(caption: str, count_tokens: Callable[[str], int]) -> str:
    """Return the words of a caption from the first one that does not fit completely."""
    words = caption.split()
    ends = range(1, len(words) + 1)
    fit = bisect_right(ends, MAX_TOKENS, key=lambda end: count_tokens(" ".join(words[:end])))
    return " ".join(words[fit:])


def transparency_notes(photo: Photo, background: str) -> Iterator[Note]:
    if photo.transparent:
        yield Note(
            "transparent_background",
            f"{photo.name} is transparent; its background becomes {background}.",
            "A background that all photos share is learned with the subject; vary it.",
        )


def set_notes(looks: Sequence[Look]) -> Iterator[Note]:
    if len(looks) < MIN_PHOTOS:
        yield Note(
            "few_photos",
            f"There {'is only 1 photo' if len(looks) == 1 else f'are only {len(looks)} photos'}.",
            "Give 3 to 20, from different sides, in front of different backgrounds.",
        )
    pairs = list(combinations(looks, 2))
    if pairs and all(differing_bits(*pair) <= ONE_VIEW_BITS for pair in pairs):
        yield Note(
            "one_view",
            "All photos show nearly the same view.",
            "Add photos from other sides, in other light, in front of other backgrounds.",
        )
