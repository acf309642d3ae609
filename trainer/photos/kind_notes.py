"""Notes on photos by the kind of their subject: what was measured, and what was not checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from ..config.concept import InstanceConfig, SubjectKind
from .images import Photo
from .looks import DUPLICATE_BITS, ONE_VIEW_BITS, Look, differing_bits
from .notes import Note

__all__ = ["kind_notes"]

# Measured on 29 photos of 6 subjects, in shades of 255: the photos of a set differ in brightness by
# 15 to 52 and in the color of their edges by 35 to 91; drawings on one white ground by 4 and 2, and
# five shots of one scene that move by up to 4% by at most 3 and 5.
SAME_LIGHT, SAME_PLACE = 8.0, 8.0


@dataclass(frozen=True)
class Advice:
    """What makes good photos of a kind of subject.

    Args:
        fewest: photos, for the kinds that need many.
        varied: light and place should differ from photo to photo.
        alike: what to do about two photos that look alike; empty: nothing.
        unchecked: what matters and cannot be measured here.
        advice: what to look for instead.
    """

    unchecked: str
    advice: str
    fewest: int = 0
    varied: bool = False
    alike: str = ""


ADVICE: dict[SubjectKind, Advice] = {
    "face": Advice(
        "whether each photo shows one person, large enough; no face detector is installed",
        "Choose photos of one person alone whose face fills a good part of the crop.",
        varied=True,
    ),
    "pet": Advice(
        "whether each photo shows one animal",
        "Choose photos of one animal alone, from several sides and in several poses.",
        varied=True,
    ),
    "object": Advice(
        "from which sides the photos show the object",
        "Choose photos from several sides, without transparent parts.",
        varied=True,
    ),
    "style": Advice(
        "whether a subject appears twice; only compositions were compared",
        "Show each subject once: what repeats is learned as part of the style.",
        fewest=10,
        alike="If they show the same subject, keep one.",
    ),
    "environment": Advice(
        "how near and far the views are; only compositions were compared",
        "Choose near and wide views, from several places.",
        fewest=8,
        alike="If they show the same view, keep one.",
    ),
}


def kind_notes(
    config: InstanceConfig, photos: Sequence[Photo], looks: Sequence[Look]
) -> Iterator[Note]:
    """Yield what there is to say of photos of one kind of subject; "auto" has no advice."""
    kind = config.subject_kind
    advice = ADVICE.get(kind)
    if advice is None:
        return
    yield from settings_notes(config)
    if len(photos) < advice.fewest:
        message = f"Of this {kind} there are {len(photos)} of at least {advice.fewest} photos."
        yield Note("few_for_kind", message, f"Add some: 20 are good for this kind ({kind}).")
    if advice.varied and len(looks) > 1:
        yield from sameness_notes(looks)
    if advice.alike:
        yield from alike_notes(photos, looks, advice.alike)
    yield Note("not_checked", f"Not checked: {advice.unchecked}.", advice.advice)


def settings_notes(config: InstanceConfig) -> Iterator[Note]:
    if config.subject_kind == "face" and config.flip:
        yield Note(
            "flipped_face",
            "flip is on: mirrored copies of the face are trained too.",
            "No face is symmetrical; set flip to false.",
        )


def sameness_notes(looks: Sequence[Look]) -> Iterator[Note]:
    shades = [look.brightness for look in looks]
    if max(shades) - min(shades) < SAME_LIGHT:
        yield Note(
            "same_light",
            f"All photos are about equally bright ({min(shades):.0f} to {max(shades):.0f} of 255).",
            "Add some in other light, or the light is learned with the subject.",
        )
    if all(distance(*pair) < SAME_PLACE for pair in combinations(looks, 2)):
        yield Note(
            "same_place",
            "The edges of all photos have about the same color.",
            "Add some in other places, or the place is learned with the subject.",
        )


def distance(one: Look, other: Look) -> float:
    """Return by how many shades of 255 the colors of two photos' edges differ on average."""
    return sum(abs(a - b) for a, b in zip(one.edge_color, other.edge_color, strict=True)) / 3


def alike_notes(photos: Sequence[Photo], looks: Sequence[Look], hint: str) -> Iterator[Note]:
    """Yield pairs that look alike, without those that show the same, which have their own note."""
    for (first, one), (second, other) in combinations(zip(photos, looks, strict=True), 2):
        bits = differing_bits(one, other)
        if DUPLICATE_BITS < bits <= ONE_VIEW_BITS:
            message = f"{second.name} has nearly the same composition as {first.name}."
            yield Note("look_alike", message, hint)
