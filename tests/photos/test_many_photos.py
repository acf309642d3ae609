"""Many photos: each decoded once, with progress, a chance to cancel, and few notes of a kind."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.config.concept import InstanceConfig
from trainer.errors import ConfigError
from trainer.photos import images
from trainer.photos.crops import FirstCrops, crops_of
from trainer.photos.images import load_photos
from trainer.photos.report import inspect_photos
from trainer.prompts.tokenizer import token_count
from trainer.runs.control import Stop


def many(folder: Path, number: int, size: tuple[int, int] = (40, 30)) -> InstanceConfig:
    rng = np.random.default_rng(0)
    for index in range(number):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return InstanceConfig((str(folder),), "a photo of sks dog", resolution=64)


def unskipped(error: ConfigError) -> None:
    raise error


def test_each_photo_is_decoded_once_for_its_report_and_preview(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, decode, decoded = many(tmp_path, 5), images.decode_photo, []

    def count(path: Path) -> Image.Image:
        decoded.append(path.name)
        return decode(path)

    monkeypatch.setattr(images, "decode_photo", count)
    crops = FirstCrops(config, 3)
    photos = load_photos(config, unskipped, on_image=crops.add)
    inspect_photos(photos, config, token_count)
    assert decoded == [f"{index}.png" for index in range(5)]
    wanted = [crops_of(photo, config, index)[0] for index, photo in enumerate(photos[:3])]
    assert [crop.image.tobytes() for _, crop in crops.found] == [
        crop.image.tobytes() for crop in wanted
    ]
    assert [photo for photo, _ in crops.found] == photos[:3]


def test_progress_is_told_before_each_photo_and_can_cancel(tmp_path: Path) -> None:
    config, told = many(tmp_path, 4), []

    def watch(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        load_photos(config, unskipped, on_photo=watch)
    assert told == [(0, 4), (1, 4), (2, 4)]


def test_notes_that_many_photos_have_are_put_together(tmp_path: Path) -> None:
    config = many(tmp_path, 12)
    report = inspect_photos(load_photos(config, unskipped), config, token_count)
    small = [note for note in report.warnings() if note.code == "upscaled"]
    assert len(report.photo_notes()) == 12
    assert [note.message.split()[0] for note in small[:3]] == ["0.png", "1.png", "2.png"]
    assert small[3].message == (
        "The same (upscaled) goes for 9 more photos: 3.png, 4.png, 5.png, 6.png, 7.png and "
        "4 others."
    )
    assert len(small) == 4


def test_four_notes_are_said_in_full(tmp_path: Path) -> None:
    config = many(tmp_path, 4)
    report = inspect_photos(load_photos(config, unskipped), config, token_count)
    assert [note.photo for note in report.warnings()] == ["0.png", "1.png", "2.png", "3.png"]


def test_five_hundred_photos_are_read_in_seconds(tmp_path: Path) -> None:
    config = many(tmp_path, 500)
    start = time.perf_counter()
    report = inspect_photos(load_photos(config, unskipped), config, token_count)
    assert time.perf_counter() - start < 15
    assert len(report.warnings()) < 10
