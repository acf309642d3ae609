"""Advice by the kind of subject: what is measured, on made photos and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from tests.photos.test_photo_report import (
    REAL_PHOTOS,
    REAL_SETS,
    codes,
    inspect,
    needs_real_photos,
    report_on,
    scene,
)
from trainer.config.concept import InstanceConfig
from trainer.photos.kind_notes import ADVICE
from trainer.photos.looks import look_at

VARIED = ("face", "pet", "object")


def on_ground(number: int, color: str, shade: float = 1.0) -> Image.Image:
    """A sharp thing in the middle of a plain ground, brighter or darker as a whole."""
    photo = Image.new("RGB", (256, 256), color)
    photo.paste(scene(number, 160, 160), (48, 48))
    return ImageEnhance.Brightness(photo).enhance(shade)


def test_a_look_holds_the_mean_shade_and_the_color_of_the_edges():
    photo = Image.new("RGB", (400, 200), (10, 20, 30))
    photo.paste((200, 100, 0), (50, 25, 350, 175))
    look = look_at(photo)
    assert look.edge_color == pytest.approx((10, 20, 30))
    inside = (48 / 64) ** 2
    assert look.brightness == pytest.approx(100 * inside + 20 * (1 - inside))


def test_without_a_kind_there_is_no_advice(tmp_path: Path):
    same = [on_ground(number, "#777777") for number in range(3)]
    assert codes(report_on(tmp_path, *same)) == []


@pytest.mark.parametrize("kind", ADVICE)
def test_what_cannot_be_measured_is_said_once(tmp_path: Path, kind):
    photos = [ImageEnhance.Brightness(scene(n)).enhance(0.4 + 0.1 * n) for n in range(10)]
    report = report_on(tmp_path, *photos, subject_kind=kind)
    assert codes(report) == ["not_checked"]
    assert report.notes[0].message == f"Not checked: {ADVICE[kind].unchecked}."


def test_a_face_is_not_looked_for(tmp_path: Path):
    (note,) = report_on(tmp_path, scene(0), scene(3), scene(4), subject_kind="face").notes
    assert "no face detector is installed" in note.message


@pytest.mark.parametrize("kind", VARIED)
def test_one_light_and_one_place_are_named(tmp_path: Path, kind):
    same = [on_ground(number, "#777777") for number in range(3)]
    (tmp_path / "same").mkdir()
    report = report_on(tmp_path / "same", *same, subject_kind=kind)
    assert codes(report) == ["same_light", "same_place", "not_checked"]
    assert "of 255" in report.notes[0].message
    (tmp_path / "light").mkdir()
    light = [on_ground(0, "#777777", 0.6), *same[1:]]
    assert codes(report_on(tmp_path / "light", *light, subject_kind=kind)) == ["not_checked"]
    grounds = ("#a07060", "#607aa0", "#60a070")  # of one brightness
    places = [on_ground(number, ground) for number, ground in enumerate(grounds)]
    (tmp_path / "place").mkdir()
    found = codes(report_on(tmp_path / "place", *places, subject_kind=kind))
    assert found == ["same_light", "not_checked"]


def test_an_objects_transparent_photo_is_named(tmp_path: Path):
    cut_out = on_ground(1, "#777777").convert("RGBA")
    cut_out.putalpha(Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1))))
    photos = (cut_out, scene(2), on_ground(3, "#222222"))
    report = report_on(tmp_path, *photos, subject_kind="object")
    assert [note.code for note in report.photos[0].notes] == ["transparent_background"]


@pytest.mark.parametrize(("kind", "fewest"), [("style", 10), ("environment", 8)])
def test_kinds_that_need_many_photos_say_how_many(tmp_path: Path, kind, fewest):
    for count, expected in (
        (fewest - 1, ["few_for_kind", "not_checked"]),
        (fewest, ["not_checked"]),
    ):
        folder = tmp_path / str(count)
        folder.mkdir()
        assert codes(report_on(folder, *map(scene, range(count)), subject_kind=kind)) == expected


@pytest.mark.parametrize("kind", ["style", "environment"])
def test_two_photos_of_one_composition_are_named(tmp_path: Path, kind):
    photos = [scene(number) for number in range(10)]
    large = scene(3).resize((300, 300), Image.Resampling.LANCZOS)
    photos[5] = large.crop((20, 12, 276, 268))
    report = report_on(tmp_path, *photos, subject_kind=kind)
    notes = [note for note in report.notes if note.code == "look_alike"]
    assert [note.message for note in notes] == ["5.png has nearly the same composition as 3.png."]
    assert notes[0].hint == ADVICE[kind].alike


def test_mirrored_faces_are_named(tmp_path: Path):
    photos = [scene(number) for number in (0, 3, 4)]
    assert "flipped_face" in codes(report_on(tmp_path, *photos, subject_kind="face", flip=True))
    assert "flipped_face" not in codes(report_on(tmp_path, *photos, subject_kind="pet", flip=True))


@needs_real_photos
@pytest.mark.parametrize("folder", [path.name for path in REAL_SETS])
def test_real_sets_of_objects_and_pets_vary_and_drawings_on_white_do_not(folder):
    config = InstanceConfig((str(REAL_PHOTOS / folder),), "a photo of sks", subject_kind="object")
    found = {note.code for note in inspect(config).notes} & {"same_light", "same_place"}
    assert found == ({"same_light", "same_place"} if folder == "red_cartoon" else set())
