"""Subjects: one particular dog or teapot, with properties that captions cannot describe."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from math import pi

import numpy as np

from .names import CLASSES, COLOURS, RGB, TEXTURES
from .scene import NUM_TRAITS, ODD_PARTS, Look, Scene, choose, colour_distance, random_view

__all__ = ["subject", "view_of"]

UNNAMED = 0.2  # minimum distance of a subject's color from every named one


def subject(class_noun: str, seed: int) -> Look:
    """Return a fixed unusual look: unnamed colors, extreme proportions, an odd part."""
    rng = np.random.Generator(np.random.PCG64([seed, CLASSES.index(class_noun)]))
    colour = unnamed_colour(rng, ())
    second = unnamed_colour(rng, (colour,))
    shape = rng.choice((-1, 1), NUM_TRAITS) * rng.uniform(0.5, 1.0, NUM_TRAITS)
    return Look(
        class_noun=class_noun,
        colour=colour,
        second_colour=second,
        texture=choose(rng, TEXTURES),
        texture_phase=float(rng.random()),
        texture_width=float(rng.uniform(0.34, 0.5)),
        texture_angle=float(rng.uniform(-pi / 2, pi / 2)),
        shape=tuple(map(float, shape)),
        odd_part=choose(rng, ODD_PARTS),
        odd_colour=unnamed_colour(rng, (colour, second)),
    )


def view_of(look: Look, rng: np.random.Generator, background: str | None = None) -> Scene:
    """Return a random view of a look."""
    return Scene(look, random_view(rng, background))


def unnamed_colour(rng: np.random.Generator, others: tuple[RGB, ...]) -> RGB:
    """Return a saturated color far from every named one and from the others given."""
    while True:
        hue, saturation, value = map(float, rng.uniform((0, 0.45, 0.6), (1, 0.9, 0.97)))
        colour = hsv_to_rgb(hue, saturation, value)
        pleasant = colour[1] - max(colour[0], colour[2]) < 0.2  # no glaring green
        unnamed = all(colour_distance(colour, named) > UNNAMED for named in COLOURS.values())
        if pleasant and unnamed and all(colour_distance(colour, other) > 0.42 for other in others):
            return colour
