"""Crops of photos: where they lie, on made photos and on real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.photos.test_images import REAL_PHOTOS, RED, config_of, pattern, refuse_skips, write
from trainer.photos import images
from trainer.photos.crops import Crop, buckets, crops_of, nearest_bucket, windows_of
from trainer.photos.images import Photo, load_photos
from trainer.photos.looks import Look


def crops_in(folder: Path, photo: Image.Image, *, index: int = 0, **settings: Any):
    config = config_of(write(folder / "a.png", photo), **settings)
    (loaded,) = load_photos(config, refuse_skips)
    return crops_of(loaded, config, index)


def part(photo: Image.Image, crop: Crop) -> np.ndarray:
    """The pixels that a crop's own numbers point at, where nothing is resized."""
    (top, left), (height, width) = crop.top_left, crop.target_size
    pixels = np.asarray(photo)[:, ::-1] if crop.flipped else np.asarray(photo)
    return pixels[top : top + height, left : left + width]


@pytest.mark.parametrize(
    ("size", "num_crops", "corners"),
    [
        ((192, 128), 1, [(0, 32)]),
        ((128, 193), 1, [(32, 0)]),
        ((192, 128), 3, [(0, 0), (0, 32), (0, 64)]),
        ((128, 192), 2, [(0, 0), (64, 0)]),
        ((128, 128), 2, [(0, 0), (0, 0)]),
    ],
)
def test_center_crops_are_centred_or_spread_from_end_to_end(
    tmp_path: Path, size: tuple[int, int], num_crops: int, corners: list[tuple[int, int]]
):
    photo = pattern(*size)
    crops = crops_in(tmp_path, photo, num_crops=num_crops)
    assert [crop.top_left for crop in crops] == corners
    for crop in crops:
        assert (crop.original_size, crop.target_size) == (size[::-1], (128, 128))
        np.testing.assert_array_equal(np.asarray(crop.image), part(photo, crop))


@pytest.mark.parametrize("crop_mode", ["center", "random"])
def test_mirrored_crops_follow_with_the_corner_in_the_mirrored_photo(
    tmp_path: Path, crop_mode: str
):
    photo = pattern(200, 128)
    crops = crops_in(tmp_path, photo, crop_mode=crop_mode, flip=True)
    assert [crop.flipped for crop in crops] == [False, True]
    assert crops[0].top_left[1] + crops[1].top_left[1] == 200 - 128
    for crop in crops:
        np.testing.assert_array_equal(np.asarray(crop.image), part(photo, crop))


def test_random_crops_follow_from_the_photos_place_alone(tmp_path: Path):
    photo = pattern(640, 128)

    def left(index: int) -> int:
        (crop,) = crops_in(tmp_path, photo, crop_mode="random", index=index)
        np.testing.assert_array_equal(np.asarray(crop.image), part(photo, crop))
        return crop.top_left[1]

    assert left(1) == left(1)
    assert len({left(1), left(2), left(3)}) == 3


def test_several_random_crops_are_zoomed_by_at_most_15_percent():
    config = config_of(Path("a.jpg"), crop_mode="random", num_crops=40)
    windows = windows_of((300, 200), config, 0)
    sides = [min(window.resized) for window in windows]
    assert 128 <= min(sides) < 132
    assert 142 < max(sides) <= 147
    for window in windows:
        assert 0 <= window.top_left[0] <= window.resized[1] - 128
        assert 0 <= window.top_left[1] <= window.resized[0] - 128
    assert len({window.top_left for window in windows}) > 30


@pytest.mark.parametrize("settings", [{"num_crops": 4}, {"crop_mode": "none"}, {"flip": True}])
@pytest.mark.parametrize("size", [(1000, 700), (90, 60)])
def test_crops_are_parts_of_the_resized_photo(
    tmp_path: Path, size: tuple[int, int], settings: dict[str, Any]
):
    photo = pattern(*size)
    settings = {"crop_mode": "random", **settings}
    windows = windows_of(size, config_of(Path(), **settings), 0)
    for crop, window in zip(crops_in(tmp_path, photo, **settings), windows, strict=False):
        resized = photo.resize(window.resized, Image.Resampling.LANCZOS)
        error = np.asarray(crop.image, np.float32) - part(resized, crop)
        assert np.abs(error).mean() < 1.5


@pytest.mark.parametrize(
    ("size", "resolution", "bucket"),
    [
        ((1000, 1000), 1024, (1024, 1024)),
        ((300, 200), 1024, (1216, 832)),
        ((108, 192), 768, (576, 1024)),
        ((9000, 100), 512, (1024, 256)),
        ((300, 200), 64, (64, 64)),
    ],
)
def test_whole_photos_take_the_bucket_of_the_nearest_shape(
    tmp_path: Path, size: tuple[int, int], resolution: int, bucket: tuple[int, int]
):
    assert nearest_bucket(size, resolution) == bucket
    (crop,) = crops_in(tmp_path, pattern(*size), crop_mode="none", resolution=resolution)
    assert (crop.image.size, crop.original_size) == (bucket, size[::-1])
    assert min(crop.top_left) == 0


@pytest.mark.parametrize("resolution", range(64, 2049, 64))
def test_buckets_are_multiples_of_64_within_the_area(resolution: int):
    found = buckets(resolution)
    assert (resolution, resolution) in found
    assert {side % 64 for bucket in found for side in bucket} == {0}
    assert min(side for bucket in found for side in bucket) >= resolution / 2
    assert max(width * height for width, height in found) == resolution**2


def test_a_very_long_photo_is_cut_without_resizing_all_of_it(tmp_path: Path):
    (crop,) = crops_in(tmp_path, Image.new("RGB", (2, 20_000), RED), resolution=1024)
    assert crop.image.getextrema() == ((255, 255), (0, 0), (0, 0))
    assert crop.top_left == ((20_000 * 512 - 1024) // 2, 0)


def test_a_photo_is_decoded_once_for_all_its_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.png", pattern(192, 128))
    decoded: list[Path] = []
    decode = images.decode_photo
    monkeypatch.setattr(images, "decode_photo", lambda path: decoded.append(path) or decode(path))
    photo = Photo(path, (0, 0), "", False, Look(0, 0, 0, (0, 0, 0)))
    crops = crops_of(photo, config_of(path, num_crops=3, flip=True), 0)
    assert (len(crops), decoded) == (6, [path])


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"no photos at {REAL_PHOTOS}")
def test_real_photos_are_read_and_cropped():
    config = config_of(*sorted(path for path in REAL_PHOTOS.iterdir() if path.is_dir()))
    photos = load_photos(config, refuse_skips)
    assert len(photos) == 29
    crops = [crop for index, photo in enumerate(photos) for crop in crops_of(photo, config, index)]
    assert {crop.image.size for crop in crops} == {(128, 128)}
    assert min(np.asarray(crop.image).std() for crop in crops) > 20
