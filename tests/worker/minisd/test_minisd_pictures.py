"""The mini model's pictures: what is drawn, what captions say of it, what a subject keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from trainer.prompts.tokenizer import encode
from trainer.worker.minisd.names import (
    BACKGROUND_PHRASES,
    BACKGROUNDS,
    CLASSES,
    COLOURS,
    FACINGS,
    LIGHT_PHRASES,
    SIZES,
    TEXTURES,
    words,
)
from trainer.worker.minisd.odd_parts import ODD_PART_DRAWINGS
from trainer.worker.minisd.render import DRAWINGS, PLACES, render
from trainer.worker.minisd.scene import (
    BIG,
    COLOUR_SPREAD,
    ODD_PARTS,
    SMALL,
    Look,
    Scene,
    caption,
    colour_distance,
    random_scene,
    random_view,
)
from trainer.worker.minisd.subject import subject, view_of

pytestmark = pytest.mark.filterwarnings("error")
SEEDS = (0, 1, 2)


@pytest.fixture(autouse=True)
def fresh_accelerate() -> None:
    """Nothing here uses accelerate, and the real fixture takes longer than these tests."""


def dice(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def scenes(seed: int) -> Iterator[Scene]:
    rng = dice(seed)
    while True:
        yield random_scene(rng)


def object_scene(seed: int) -> tuple[Scene, Look]:
    """The first scene of a seed that has an object."""
    scene = next(scene for scene in scenes(seed) if scene.look is not None)
    assert scene.look is not None
    return scene, scene.look


def test_every_word_is_one_token():
    assert [word for word in words() if len(encode(word)) != 1] == []
    assert len(words()) < 150


def test_captions_use_listed_words_only():
    rng, known = dice(0), set(words())
    for scene in islice(scenes(0), 500):
        assert set(caption(scene, rng).replace(",", " , ").split()) <= known


def test_every_class_place_and_odd_part_has_a_drawing():
    assert set(DRAWINGS) == set(CLASSES)
    assert set(PLACES) == set(BACKGROUNDS)
    assert set(ODD_PART_DRAWINGS) == set(ODD_PARTS)


@pytest.mark.parametrize("seed", SEEDS)
def test_same_scene_gives_same_bytes(seed: int):
    scene, again = next(scenes(seed)), next(scenes(seed))
    assert scene == again
    assert caption(scene, dice(1)) == caption(again, dice(1))
    first, second = render(scene), render(again)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("class_noun", CLASSES)
def test_every_class_is_large_in_the_frame(class_noun: str, seed: int):
    scene, look = object_scene(seed)
    picture = render(replace(scene, look=replace(look, class_noun=class_noun)))
    assert picture.image.shape == (128, 128, 3)
    assert picture.image.dtype == np.uint8
    assert picture.mask.dtype == np.float32
    assert 0.05 < picture.mask.mean() < 0.6
    rows, columns = (np.flatnonzero(picture.mask.max(axis) > 0.5) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) > 0.45 * 128


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_an_empty_scene_has_an_empty_mask_and_no_hole(background: str, seed: int):
    view = replace(random_view(dice(seed), background), light="bright")
    picture = render(Scene(None, view))
    assert not picture.mask.any()
    assert picture.image.max(2).min() > 0  # every pixel was painted
    assert picture.image.std() > 5


@pytest.mark.parametrize("texture", TEXTURES[1:])
def test_textures_show(texture: str):
    scene, look = object_scene(3)
    plain = render(replace(scene, look=replace(look, texture="plain")))
    patterned = render(replace(scene, look=replace(look, texture=texture)))
    changed = (plain.image != patterned.image).any(2)
    np.testing.assert_array_equal(plain.mask, patterned.mask)
    assert changed.sum() > 200
    assert not changed[plain.mask == 0].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_mask_parts_object_from_background(seed: int):
    scene, _ = object_scene(seed)
    elsewhere = replace(scene, view=replace(scene.view, background="night", background_seed=5))
    first, second = render(scene), render(elsewhere)
    np.testing.assert_array_equal(first.mask, second.mask)
    difference = np.abs(first.image.astype(int) - second.image).max(2)
    assert difference[first.mask > 0.9999].max() <= 1
    empty = render(replace(elsewhere, look=None))
    darker = empty.image[first.mask == 0].astype(int) - second.image[first.mask == 0]
    assert darker.min() >= 0  # the shadow takes light away and nothing else changes


@pytest.mark.parametrize("side", [64, 256])
def test_side_changes_the_resolution_alone(side: int):
    scene, _ = object_scene(4)
    small, large = render(scene, 64), render(scene, side)
    assert large.image.shape == (side, side, 3)
    assert abs(float(large.mask.mean()) - float(small.mask.mean())) < 0.01


def test_named_colours_stay_near_their_names():
    for scene in islice(scenes(1), 200):
        if scene.look is not None:
            assert scene.colour_name is not None
            named = COLOURS[scene.colour_name]
            assert np.abs(np.subtract(scene.look.colour, named)).max() <= COLOUR_SPREAD + 1e-6


def spoken(text: str, phrases: Mapping[str, str]) -> set[str]:
    """The keys whose phrases a caption contains."""
    padded = f" {text.replace(',', ' ')} "
    return {key for key, phrase in phrases.items() if phrase and f" {phrase} " in padded}


def spoken_words(text: str, vocabulary: tuple[str, ...]) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word in vocabulary]


def test_captions_of_objects_are_true():
    rng = dice(7)
    for scene in islice(scenes(7), 1500):
        if scene.look is None:
            continue
        text, view = caption(scene, rng), scene.view
        assert spoken_words(text, CLASSES) == [scene.look.class_noun]
        colours = [scene.colour_name, scene.second_name]
        assert (said := spoken_words(text, tuple(COLOURS))) == colours[: len(said)]
        assert set(spoken_words(text, TEXTURES)) <= {scene.look.texture}
        places = {name: phrase for name, (phrase, _) in BACKGROUND_PHRASES.items()}
        assert spoken(text, places) <= {view.background}
        assert spoken(text, LIGHT_PHRASES) <= {view.light}
        assert spoken(text, {str(key): phrase for key, phrase in FACINGS.items()}) <= {
            str(view.facing)
        }
        true_size = "small" if view.scale < SMALL else "big" if view.scale > BIG else None
        assert set(spoken_words(text, SIZES)) <= {true_size}


def test_captions_of_empty_scenes_name_the_place_alone():
    rng = dice(8)
    for background, (_, phrase) in BACKGROUND_PHRASES.items():
        text = caption(Scene(None, random_view(rng, background)), rng)
        assert phrase in text
        assert spoken_words(text, (*CLASSES, *COLOURS, *TEXTURES, *SIZES)) == []


def test_few_scenes_are_empty():
    empty = [scene.look is None for scene in islice(scenes(9), 2000)]
    assert 0.03 < np.mean(empty) < 0.05


def test_captions_mention_a_random_part():
    texts = {caption(scene, dice(place)) for place, scene in enumerate(islice(scenes(2), 300))}
    assert len(texts) > 250
    scene, _ = object_scene(2)
    assert len({caption(scene, dice(seed)) for seed in range(50)}) > 20


@pytest.mark.parametrize("class_noun", ["dog", "backpack", "teapot"])
def test_a_subject_looks_the_same_in_all_views(class_noun: str):
    look = subject(class_noun, 5)
    assert look == subject(class_noun, 5) != subject(class_noun, 6)
    rng = dice(5)
    views = [view_of(look, rng) for _ in range(4)]
    assert {view.look for view in views} == {look}
    assert len({view.view for view in views}) == 4
    assert view_of(look, rng, "snow").view.background == "snow"


def test_captions_have_no_word_for_a_subject():
    look = subject("dog", 1)
    assert look.odd_part in ODD_PARTS
    for colour in (look.colour, look.second_colour, look.odd_colour):
        assert min(colour_distance(colour, named) for named in COLOURS.values()) > 3 * COLOUR_SPREAD
    rng = dice(1)
    texts = [caption(view_of(look, rng), rng) for _ in range(100)]
    assert not any(spoken_words(text, tuple(COLOURS)) for text in texts)
