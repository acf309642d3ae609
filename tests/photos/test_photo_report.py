"""The photo report: what it says of made photos with one flaw each, and of real ones."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from trainer.config.concept import InstanceConfig
from trainer.photos.crops import crops_of
from trainer.photos.folder import find_photos
from trainer.photos.images import load_photos, read_photo
from trainer.photos.report import Report, inspect_photos, lost_words, union_area
from trainer.prompts.tokenizer import token_count

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "dreambooth"
REAL_SETS = sorted(path for path in REAL_PHOTOS.glob("*") if path.is_dir())
needs_real_photos = pytest.mark.skipif(not REAL_SETS, reason=f"no photos at {REAL_PHOTOS}")


def scene(number: int, width: int = 256, height: int = 256) -> Image.Image:
    """A sharp made photo; each number shows something else."""
    rng = np.random.default_rng(number)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-30, 31, (height, width, 1))
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def report_on(folder: Path, *photos: Image.Image, caption: str = "", **settings: Any) -> Report:
    """The report on photos saved as 0.png, 1.png and so on."""
    for number, photo in enumerate(photos):
        photo.save(folder / f"{number}.png")
        if caption:
            (folder / f"{number}.txt").write_text(caption)
    values = {"instance_prompt": "a photo of sks dog", "resolution": 128} | settings
    return inspect(InstanceConfig((str(folder),), **values))


def inspect(config: InstanceConfig) -> Report:
    return inspect_photos(load_photos(config, raise_error), config, token_count)


def raise_error(error: Exception) -> None:
    raise error


def codes(report: Report) -> list[str]:
    return [note.code for note in report.warnings()]


def test_three_good_photos_get_no_note(tmp_path: Path):
    report = report_on(tmp_path, scene(0), scene(1), scene(2))
    assert codes(report) == []
    assert [photo.kept_fraction for photo in report.photos] == [1, 1, 1]


@pytest.mark.parametrize(
    ("size", "settings", "flagged"),
    [
        ((128, 128), {}, False),
        ((300, 127), {}, True),
        ((120, 127), {"crop_mode": "none"}, True),
        ((90, 400), {"crop_mode": "none"}, False),
        ((140, 140), {"crop_mode": "random", "num_crops": 3}, False),
    ],
)
def test_a_photo_smaller_than_its_crop_is_upscaled(
    tmp_path: Path, size: tuple[int, int], settings: dict[str, Any], flagged: bool
):
    assert ("upscaled" in codes(report_on(tmp_path, scene(0, *size), **settings))) is flagged


def test_the_upscaled_note_names_the_photo_and_the_factor(tmp_path: Path):
    (note,) = report_on(tmp_path, scene(0, 64, 100)).photos[0].notes
    assert note.message == "0.png has 64 x 100 pixels; it is enlarged 2.00 times to fill 128 x 128."


@pytest.mark.parametrize(
    ("size", "settings", "kept", "sides"),
    [
        ((400, 200), {}, 0.5, (0.25, 0, 0.25, 0)),
        ((200, 800), {}, 0.25, (0, 0.375, 0, 0.375)),
        ((400, 200), {"num_crops": 2}, 1.0, (0, 0, 0, 0)),
        ((600, 200), {"num_crops": 2}, 2 / 3, (0, 0, 0, 0)),
        ((400, 200), {"flip": True}, 0.5, (0.25, 0, 0.25, 0)),
        ((600, 200), {"crop_mode": "none", "resolution": 512}, 0.8, (0.1, 0, 0.1, 0)),
    ],
)
def test_the_kept_area_and_the_cut_sides_are_those_of_the_crops(
    tmp_path: Path,
    size: tuple[int, int],
    settings: dict[str, Any],
    kept: float,
    sides: tuple[float, ...],
):
    (photo,) = report_on(tmp_path, scene(0, *size), **settings).photos
    assert photo.kept_fraction == pytest.approx(kept)
    assert photo.cut_sides == pytest.approx(sides, abs=0.01)
    assert ("cropped_away" in [note.code for note in photo.notes]) is (kept < 0.6)


def test_the_area_of_overlapping_boxes_counts_once():
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75), (0.3, 0.3, 0.4, 0.4)]
    assert union_area(boxes) == pytest.approx(0.25 + 0.25 - 0.0625)
    assert union_area([(0.0, 0.0, 0.2, 1.0), (0.8, 0.0, 1.0, 1.0)]) == pytest.approx(0.4)


def test_random_crops_are_reported_as_they_are_trained(tmp_path: Path):
    config = InstanceConfig((str(tmp_path),), "a dog", resolution=128, crop_mode="random")
    scene(0, 640, 128).save(tmp_path / "0.png")
    photos = load_photos(config, raise_error)
    (crop,) = crops_of(photos[0], config, 0)
    left_share = inspect_photos(photos, config, token_count).photos[0].cut_sides[0]
    assert left_share == pytest.approx(crop.top_left[1] / 640, abs=0.01)


def test_a_blurred_photo_is_blurry(tmp_path: Path):
    blurred = scene(0).filter(ImageFilter.GaussianBlur(6))
    report = report_on(tmp_path, blurred, scene(1), scene(2))
    assert codes(report) == ["blurry"]
    assert report.warnings()[0].message.startswith("0.png is blurry")


def test_a_sharp_subject_before_a_smooth_background_is_not_blurry(tmp_path: Path):
    photo = Image.new("RGB", (512, 512), (90, 120, 150))
    photo.paste(scene(0, 200, 200), (150, 150))
    assert "blurry" not in codes(report_on(tmp_path, photo))


def test_a_resized_and_reencoded_copy_is_a_duplicate_of_the_first(tmp_path: Path):
    scene(0, 512, 512).resize((200, 200)).save(tmp_path / "copy.jpg", quality=40)
    report = report_on(tmp_path, scene(0, 512, 512), scene(1), scene(2))
    (note,) = report.warnings()
    assert (note.code, note.message) == ("duplicate", "copy.jpg shows the same as 0.png.")


def test_the_words_of_a_caption_that_are_cut_are_named(tmp_path: Path):
    words = ["dog"] * 75
    assert codes(report_on(tmp_path, scene(0), caption=" ".join(words))) == ["few_photos"]
    (photo,) = report_on(tmp_path, scene(0), caption=" ".join([*words, "red", "ball"])).photos
    (note,) = photo.notes
    assert note.code == "caption_cut"
    assert "79 tokens of at most 77" in note.message
    assert note.message.endswith('cut off: "red ball".')


def test_a_word_that_fits_only_in_part_counts_as_lost():
    def two_each(text: str) -> int:
        return 2 + 2 * len(text.split())

    words = [f"w{number}" for number in range(40)]
    assert lost_words(" ".join(words), two_each) == "w37 w38 w39"


def test_a_transparent_photo_names_its_new_background(tmp_path: Path):
    photo = scene(0)
    photo.putalpha(Image.linear_gradient("L"))
    (note,) = report_on(tmp_path, photo, background="#112233").photos[0].notes
    assert note.code == "transparent_background"
    assert "#112233" in note.message


@pytest.mark.parametrize(("number", "flagged"), [(1, True), (2, True), (3, False)])
def test_fewer_than_three_photos_are_few(tmp_path: Path, number: int, flagged: bool):
    report = report_on(tmp_path, *(scene(index) for index in range(number)))
    assert ("few_photos" in codes(report)) is flagged


@pytest.mark.parametrize(("mode", "advised"), [("center", True), ("none", False)])
def test_a_panorama_is_never_advised_the_crop_mode_it_has(tmp_path: Path, mode: str, advised: bool):
    notes = report_on(tmp_path, scene(0, 2400, 200), crop_mode=mode).photos[0].notes
    (hint,) = [note.hint for note in notes if note.code == "cropped_away"]
    assert ("crop_mode" in hint) is advised and "around the subject" in hint


def test_the_text_says_what_happens_to_each_photo(tmp_path: Path):
    text = report_on(tmp_path, scene(0, 400, 200), scene(1)).text()
    assert text.splitlines()[0] == "2 photos"
    assert "0.png: 400 x 200 pixels" in text
    assert 'prompt: "a photo of sks dog"' in text
    assert "cropped away: 50% (25% at the left, 25% at the right)" in text
    assert "1.png: 256 x 256 pixels" in text
    assert "cropped away: 0%\n" in text
    assert "! few_photos: There are only 2 photos. Give 3 to 20" in text
    assert "! cropped_away: 50% of 0.png is cropped away. Crop the photo" in text


def burst(photo: Image.Image, stray: float = 0.02) -> list[Image.Image]:
    """Five shots of one view, each moved and zoomed by at most `stray`."""
    rng = np.random.default_rng(0)
    shots: list[Image.Image] = []
    for _ in range(5):
        scale = 1 - stray * rng.random()
        left, top = rng.random(2) * (1 - scale)
        box = (left, top, left + scale, top + scale)
        shots.append(photo.resize(photo.size, box=tuple(edge * photo.width for edge in box)))
    return shots


@needs_real_photos
@pytest.mark.parametrize("folder", REAL_SETS, ids=lambda path: path.name)
def test_real_sets_get_no_note_in_under_a_second(folder: Path):
    config = InstanceConfig((str(folder),), "a photo of sks dog")
    photos = load_photos(config, raise_error)
    start = time.perf_counter()
    report = inspect_photos(photos, config, token_count)
    assert time.perf_counter() - start < 1
    assert codes(report) == []


@needs_real_photos
@pytest.mark.parametrize("folder", REAL_SETS, ids=lambda path: path.name)
def test_real_photos_are_blurry_once_blurred(tmp_path: Path, folder: Path):
    for number, path in enumerate(find_photos([folder])):
        photo = read_photo(path).resize((1024, 1024)).filter(ImageFilter.GaussianBlur(6))
        photo.save(tmp_path / f"{number}.bmp")
    config = InstanceConfig((str(tmp_path),), "a photo of sks dog")
    assert all(
        [note.code for note in photo.notes] == ["blurry"] for photo in inspect(config).photos
    )


@needs_real_photos
@pytest.mark.parametrize("folder", REAL_SETS, ids=lambda path: path.name)
def test_small_copies_of_real_photos_are_their_duplicates(tmp_path: Path, folder: Path):
    for path in find_photos([folder]):
        photo = read_photo(path).resize((512, 512))
        photo.save(tmp_path / f"{path.stem}_a.bmp")
        photo.resize((256, 256)).save(tmp_path / f"{path.stem}_b.jpg", quality=30)
    report = inspect(InstanceConfig((str(tmp_path),), "a photo of sks dog", resolution=256))
    messages = [note.message for note in report.photo_notes() if note.code == "duplicate"]
    names = [photo.photo.path.name for photo in report.photos]
    pairs = [pair for pair in pairwise(names) if pair[0].endswith("_a.bmp")]
    assert messages == [f"{copy} shows the same as {original}." for original, copy in pairs]


@needs_real_photos
@pytest.mark.parametrize("folder", REAL_SETS, ids=lambda path: path.name)
def test_a_burst_of_one_real_photo_is_one_view(tmp_path: Path, folder: Path):
    shots = burst(read_photo(find_photos([folder])[0]).resize((512, 512)))
    assert "one_view" in codes(report_on(tmp_path, *shots))
