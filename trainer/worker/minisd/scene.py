"""A scene: what the object is, how it is seen, and its captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np

from .names import (
    BACKGROUND_PHRASES,
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    FACINGS,
    LIGHT_PHRASES,
    LIGHTS,
    RGB,
    TEMPLATES,
    TEXTURES,
    TURNING,
)
from .textures import Texture

__all__ = [
    "NUM_TRAITS",
    "ODD_PARTS",
    "Look",
    "Scene",
    "View",
    "caption",
    "choose",
    "colour_distance",
    "random_scene",
    "random_view",
    "with_article",
]

ODD_PARTS: tuple[str, ...] = ("heart", "star", "daisy", "plaster", "bow", "antenna", "flag")
NUM_TRAITS = 6  # numbers from -1 to 1 that a class's drawing uses as proportions
COLOUR_SPREAD = 0.035  # a named color's red, green and blue vary by this much
EMPTY_SHARE = 0.04
ODD_SHARE = 0.2
SMALL, BIG = 0.63, 0.76  # a caption may mention scales below and above these
SCALES = (0.56, 0.84)


@dataclass(frozen=True)
class Look:
    """An object's properties, the same in all its views.

    Args:
        texture: one of `TEXTURES`.
        texture_phase: shift, in pattern widths.
        texture_width: length of one repetition; the object is about 2 wide.
        texture_angle: rotation in radians.
        shape: `NUM_TRAITS` numbers from -1 to 1.
        odd_part: one of `ODD_PARTS`.
    """

    class_noun: str
    colour: RGB
    second_colour: RGB
    texture: str
    texture_phase: float
    texture_width: float
    texture_angle: float
    shape: tuple[float, ...]
    odd_part: str | None
    odd_colour: RGB

    @property
    def pattern(self) -> Texture | None:
        """Return the texture; None if it is plain."""
        if self.texture == "plain":
            return None
        return Texture(self.texture, self.texture_phase, self.texture_width, self.texture_angle)


@dataclass(frozen=True)
class View:
    """How a scene is seen.

    Args:
        x: the object's center, in image widths from the left.
        y: the object's center, in image heights from the top.
        scale: the object's height as a share of the image's.
        angle: clockwise tilt in radians.
        facing: 1 to the right, -1 to the left.
        light_angle: direction of the light, in radians clockwise from straight above.
    """

    background: str
    background_seed: int
    light: str
    light_angle: float
    x: float
    y: float
    scale: float
    angle: float
    facing: int


@dataclass(frozen=True)
class Scene:
    """The content of an image; without a look, only the place.

    Args:
        colour_name: the color's name for captions, if it has one.
        second_name: the same for the second color.
    """

    look: Look | None
    view: View
    colour_name: str | None = None
    second_name: str | None = None


def random_scene(rng: np.random.Generator) -> Scene:
    """Return an ordinary scene; one in twenty-five has no object."""
    if rng.random() < EMPTY_SHARE:
        return Scene(None, random_view(rng))
    colour, second = random_colour_names(rng)
    look = Look(
        class_noun=choose(rng, CLASSES),
        colour=shade_of(rng, colour),
        second_colour=shade_of(rng, second),
        texture=random_texture(rng),
        texture_phase=float(rng.random()),
        texture_width=float(rng.uniform(0.34, 0.5)),
        texture_angle=float(rng.choice((0.0, pi / 2, pi / 4, -pi / 4)) + rng.normal(0, 0.12)),
        shape=tuple(map(float, rng.uniform(-1, 1, NUM_TRAITS))),
        odd_part=choose(rng, ODD_PARTS) if rng.random() < ODD_SHARE else None,
        odd_colour=shade_of(rng, choose(rng, tuple(COLOURS))),
    )
    return Scene(look, random_view(rng), colour, second)


def random_view(rng: np.random.Generator, background: str | None = None) -> View:
    """Return a random view, with the given background if there is one."""
    scale = float(rng.uniform(*SCALES))
    place = background or choose(rng, BACKGROUNDS)
    base = rng.uniform(0.86, 0.95) if place != "space" else 0.5 + scale / 2 + rng.normal(0, 0.02)
    lights = tuple(LIGHTS)
    return View(
        background=place,
        background_seed=int(rng.integers(2**31)),
        light=lights[rng.choice(len(lights), p=(0.48, 0.13, 0.13, 0.13, 0.13))],
        light_angle=float(rng.choice((-1, 1)) * rng.uniform(0.4, 1.0)),
        x=float(0.5 + rng.uniform(-1, 1) * (1 - scale) * 0.3),
        y=float(base - scale / 2),
        scale=scale,
        angle=float(rng.uniform(-0.12, 0.12)),
        facing=int(rng.choice((-1, 1))),
    )


def random_texture(rng: np.random.Generator) -> str:
    """Return a texture; plain is twice as likely as any other."""
    return choose(rng, ("plain", *TEXTURES))


def random_colour_names(rng: np.random.Generator) -> tuple[str, str]:
    """Return two clearly different colors."""
    first = choose(rng, tuple(COLOURS))
    others = [name for name in COLOURS if colour_distance(COLOURS[name], COLOURS[first]) > 0.4]
    return first, choose(rng, others)


def shade_of(rng: np.random.Generator, name: str) -> RGB:
    """Return a color close to the named one."""
    return vary(rng, COLOURS[name], COLOUR_SPREAD)


def vary(rng: np.random.Generator, colour: RGB, spread: float) -> RGB:
    red, green, blue = np.clip(np.asarray(colour) + rng.uniform(-spread, spread, 3), 0, 1)
    return float(red), float(green), float(blue)


def colour_distance(first: RGB, second: RGB) -> float:
    """Return the distance of two colors."""
    return float(np.linalg.norm(np.subtract(first, second)))


def choose(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Return a random option."""
    return options[int(rng.integers(len(options)))]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a caption that mentions part of what the scene shows."""
    light = LIGHT_PHRASES[scene.view.light] if rng.random() < 0.4 else ""
    if scene.look is None:
        parts = [BACKGROUND_PHRASES[scene.view.background][1], light]
    else:
        place = BACKGROUND_PHRASES[scene.view.background][0] if rng.random() < 0.6 else ""
        parts = [object_phrase(scene, scene.look, rng), place, light]
    return " ".join((choose(rng, TEMPLATES), join_places(parts))).strip()


def join_places(parts: Sequence[str]) -> str:
    """Join subject and place; the light follows after a comma if there is a place."""
    subject, *rest = parts
    named = [part for part in rest if part]
    return " ".join((subject, ", ".join(named))).strip()


def object_phrase(scene: Scene, look: Look, rng: np.random.Generator) -> str:
    """Return article, some adjectives, class noun and sometimes its direction."""
    adjectives = [size_word(scene.view.scale) if rng.random() < 0.15 else ""]
    pattern = look.texture if rng.random() < (0.15 if look.texture == "plain" else 0.6) else ""
    plain = pattern == "plain"
    colours = colour_words(scene, rng)
    adjectives += [pattern, *colours[:1]] if plain else [*colours, pattern]
    facing = FACINGS[scene.view.facing] if look.class_noun in TURNING else ""
    facing = facing if rng.random() < 0.12 else ""
    return with_article(" ".join(word for word in (*adjectives, look.class_noun, facing) if word))


def colour_words(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Return no word, "red", or "red and white"."""
    if scene.colour_name is None or rng.random() < 0.4:
        return []
    if scene.second_name is None or rng.random() < 0.55:
        return [scene.colour_name]
    return [scene.colour_name, "and", scene.second_name]


def size_word(scale: float) -> str:
    """Return "small", "big" or nothing."""
    return "small" if scale < SMALL else "big" if scale > BIG else ""


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"
