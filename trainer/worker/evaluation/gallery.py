"""The images by which a training of the embedded model is measured, the same for every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ...runs.control import Control
from ..base.parts import Parts
from ..drawing.sampler import Drawer, Sampler, draw_series
from ..minisd.names import BACKGROUND_PHRASES, BACKGROUNDS, CLASSES, COLOURS
from ..minisd.parts import SIDE_PX
from ..minisd.render import render
from ..minisd.scene import Look, Scene, random_scene, with_article
from ..minisd.subject import view_of
from ..trainable.apply import LoraFile, encode_with
from .measures import Pictures

__all__ = [
    "GUIDANCE_SCALE",
    "INFERENCE_STEPS",
    "draw_prompts",
    "gallery",
    "gallery_prompts",
    "perfect_gallery",
    "photos",
    "save_photos",
]

GUIDANCE_SCALE, INFERENCE_STEPS = 4.0, 20
BATCH = 16
FIRST_SEED = 1000  # of the images
PHOTO_PLACES = ("meadow", "room", "beach", "snow", "city")  # the places in the training photos


def photos(look: Look, number: int, seed: int = 0) -> list[Image.Image]:
    """Return photos to train on, in alternating places."""
    rng = np.random.Generator(np.random.PCG64(seed))
    places = [PHOTO_PLACES[i % len(PHOTO_PLACES)] for i in range(number)]
    return [Image.fromarray(render(view_of(look, rng, place)).image) for place in places]


def save_photos(pictures: Sequence[Image.Image], folder: Path) -> None:
    """Save photos as photo_1.png and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start=1):
        picture.save(folder / f"photo_{number}.png")


def draw_prompts(
    parts: Parts,
    prompts: Sequence[str],
    control: Control,
    lora: LoraFile | None = None,
    inference_steps: int | None = None,
) -> list[Image.Image]:
    """Return one image per prompt, seeded by its position.

    Args:
        lora: applied to the base if given.
        inference_steps: None for the usual number.
    """
    table = encode_with(parts, lora, [*prompts, ""], control.check)
    steps = inference_steps or INFERENCE_STEPS
    sampler = Sampler.square(SIDE_PX, GUIDANCE_SCALE, steps, control.check)
    seeds = range(FIRST_SEED, FIRST_SEED + len(prompts))
    encoded = [table[[prompt]] for prompt in prompts]
    series = draw_series(Drawer.of(parts), sampler, encoded, table[[""]], seeds, batch_size=BATCH)
    return list(series)


def unseen_places() -> list[str]:
    return [place for place in BACKGROUNDS if place not in PHOTO_PLACES for _ in range(2)]


def nouns_but(class_noun: str) -> list[str]:
    return [noun for noun in CLASSES if noun != class_noun]


def gallery_prompts(class_noun: str, trigger: str) -> list[str]:
    """Return the prompts of the images that are measured.

    Two of the subject in each place that no photo shows, as many of the bare class noun, one of
    each other class, and one of the subject in each named color; none of these is its own color.

    Args:
        trigger: the words for the subject, such as "sks dog".
    """
    places = unseen_places()
    return [
        *(f"a photo of a {trigger} {BACKGROUND_PHRASES[place][0]}" for place in places),
        *[f"a photo of a {class_noun}"] * len(places),
        *(f"a photo of a {noun}" for noun in nouns_but(class_noun)),
        *(f"a photo of {with_article(f'{colour} {trigger}')}" for colour in COLOURS),
    ]


def gallery(
    class_noun: str, drawn: Sequence[Image.Image], photos: Sequence[Image.Image]
) -> Pictures:
    """Return the images of `gallery_prompts`, sorted by what they measure."""
    places, colours = unseen_places(), list(COLOURS)
    count = len(places)
    return Pictures(
        subject=drawn[:count],
        places=places,
        class_noun=drawn[count : 2 * count],
        others=drawn[2 * count : -len(colours)],
        other_nouns=nouns_but(class_noun),
        coloured=drawn[-len(colours) :],
        colours=colours,
        photos=photos,
    )


def perfect_gallery(look: Look, photos: Sequence[Image.Image]) -> Pictures:
    """Return what a model would generate that learned the subject and forgot nothing."""
    rng = np.random.Generator(np.random.PCG64(FIRST_SEED))
    places, other_nouns = unseen_places(), nouns_but(look.class_noun)

    def picture(scene: Scene) -> Image.Image:
        return Image.fromarray(render(scene).image)

    coloured = (replace(look, colour=colour) for colour in COLOURS.values())
    return Pictures(
        subject=[picture(view_of(look, rng, place)) for place in places],
        places=places,
        class_noun=[picture(ordinary(look.class_noun, rng)) for _ in places],
        others=[picture(ordinary(noun, rng)) for noun in other_nouns],
        other_nouns=other_nouns,
        coloured=[picture(view_of(other, rng)) for other in coloured],
        colours=list(COLOURS),
        photos=photos,
    )


def ordinary(class_noun: str, rng: np.random.Generator) -> Scene:
    """Return a random scene of a class, like those that the model was trained on."""
    while True:
        scene = random_scene(rng)
        if scene.look is not None and scene.look.class_noun == class_noun:
            return scene
