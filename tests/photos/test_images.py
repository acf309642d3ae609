"""Finding, decoding and captioning photos."""

from __future__ import annotations

import struct
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from trainer.config.concept import InstanceConfig
from trainer.errors import ConfigError
from trainer.photos.captions import read_caption
from trainer.photos.images import find_photos, load_photos, read_photo

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "dreambooth"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = {"A": RED, "B": GREEN, "C": BLUE, "D": WHITE}


def quarters() -> Image.Image:
    """48 x 32 pixels: A red top left, B green top right, C blue bottom left, D white."""
    image = Image.new("RGB", (48, 32))
    for letter, corner in zip("ABCD", ((0, 0), (24, 0), (0, 16), (24, 16)), strict=True):
        image.paste(CORNERS[letter], (*corner, corner[0] + 24, corner[1] + 16))
    return image


def pattern(width: int, height: int) -> Image.Image:
    """A smooth image none of whose pixels is like another."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 / width, y * 255 / height, (x + y) % 200], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def write(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def config_of(*sources: Path, **settings: Any) -> InstanceConfig:
    values = {"instance_prompt": "a photo of sks dog", "resolution": 128} | settings
    return InstanceConfig(tuple(map(str, sources)), **values)


def refuse_skips(error: ConfigError) -> None:
    raise AssertionError(error)


def colour_at(image: Image.Image, x: float, y: float) -> tuple[int, ...]:
    pixel = np.asarray(image)[int(y * image.height), int(x * image.width)]
    return tuple(int(value) for value in pixel)


def assert_near(found: tuple[int, ...], wanted: tuple[int, ...], tolerance: int = 6) -> None:
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= tolerance


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *, depth: int = 8, extra: bytes = b"") -> bytes:
    """A greyscale PNG whose header may promise more than its rows hold."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + body


def test_folders_list_photos_in_natural_order_without_hidden_files_and_subfolders(tmp_path: Path):
    names = ("photo10.jpg", "Photo2.PNG", "photo1.webp", ".hidden.jpg", "._photo1.jpg", "a.txt")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "album.jpg").mkdir()
    (tmp_path / "album.jpg" / "inner.jpg").touch()
    found = [path.name for path in find_photos([tmp_path])]
    assert found == ["photo1.webp", "Photo2.PNG", "photo10.jpg"]


def test_a_photo_given_twice_is_found_once_at_its_first_place(tmp_path: Path):
    first, second = tmp_path / "b.jpg", tmp_path / "a.jpg"
    first.touch()
    second.touch()
    assert find_photos([str(first), tmp_path]) == [first, second]


def test_missing_sources_and_empty_folders_are_refused_by_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere"):
        find_photos([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match="contains no photos.*JPEG, PNG") as caught:
        find_photos([tmp_path])
    assert str(tmp_path) in caught.value.message
    with pytest.raises(ConfigError, match="no photos"):
        find_photos([])


@pytest.mark.parametrize("name", ["小狗 一号.jpg", "🐕 dog ❤️.png", "with space.webp", "ü.bmp"])
def test_photos_with_any_letters_in_their_names_are_read(tmp_path: Path, name: str):
    path = write(tmp_path / name, quarters())
    (photo,) = load_photos(config_of(tmp_path), refuse_skips)
    assert (photo.path, photo.size) == (path, (48, 32))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("jpg", {}),
        ("png", {}),
        ("webp", {"lossless": True}),
        ("tif", {}),
        ("tiff", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize(
    ("orientation", "upright"),
    list(enumerate(["ABCD", "BADC", "DCBA", "CDAB", "ACBD", "CADB", "DBCA", "BDAC"], start=1)),
)
def test_exif_orientation_is_applied(
    tmp_path: Path, suffix: str, options: dict[str, Any], orientation: int, upright: str
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / f"a.{suffix}", quarters(), exif=exif, **options)
    image = read_photo(path)
    assert image.size == ((48, 32) if orientation < 5 else (32, 48))
    spots = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
    for letter, spot in zip(upright, spots, strict=True):
        assert_near(colour_at(image, *spot), CORNERS[letter])


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif"])
def test_every_format_keeps_its_colours(tmp_path: Path, suffix: str):
    image = read_photo(write(tmp_path / f"a.{suffix}", quarters()))
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert_near(colour_at(image, 0.25, 0.25), RED)
    assert_near(colour_at(image, 0.25, 0.75), BLUE)


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, suffix: str):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (GREEN, RED)]
    path = write(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    assert_near(colour_at(read_photo(path), 0.5, 0.5), GREEN)


def test_deep_grey_is_scaled_to_eight_bits(tmp_path: Path):
    rows = b"".join(b"\0" + struct.pack(">2H", 257 * 10, 257 * 200) for _ in range(2))
    path = tmp_path / "a.png"
    path.write_bytes(png(2, 2, rows, depth=16))
    assert np.asarray(read_photo(path))[..., 0].tolist() == [[10, 200]] * 2


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 32896, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0, 500_000, 1_000_000]], np.int32), [0, 128, 255]),
    ],
)
def test_floats_and_32_bit_whole_numbers_fill_eight_bits(
    tmp_path: Path, values: np.ndarray, wanted: list[int]
):
    image = read_photo(write(tmp_path / "a.tif", Image.fromarray(values)))
    assert np.asarray(image)[0, :, 0].tolist() == wanted


def test_the_transparent_shade_of_a_16_bit_png_shows_the_background(tmp_path: Path):
    path = tmp_path / "a.png"
    rows = b"\0" + struct.pack(">2H", 257 * 100, 257 * 100 + 1)
    path.write_bytes(png(2, 1, rows, depth=16, extra=png_chunk(b"tRNS", struct.pack(">H", 25700))))
    assert np.asarray(read_photo(path, "#ff0000")).tolist() == [[[255, 0, 0], [100, 100, 100]]]


@pytest.mark.parametrize(
    ("name", "image", "red"),
    [
        ("grey.png", quarters().convert("L"), (76, 76, 76)),
        ("bilevel.png", quarters().getchannel("R").convert("1"), WHITE),
        ("palette.png", quarters().quantize(4), RED),
        ("cmyk.jpg", quarters().convert("CMYK"), RED),
        ("grey.jpg", quarters().convert("L"), (76, 76, 76)),
    ],
)
def test_grey_bilevel_palette_and_cmyk_become_rgb(
    tmp_path: Path, name: str, image: Image.Image, red: tuple[int, ...]
):
    found = read_photo(write(tmp_path / name, image))
    assert found.mode == "RGB"
    assert_near(colour_at(found, 0.25, 0.25), red)
    assert_near(colour_at(found, 0.75, 0.75), WHITE)


def left_transparent() -> Image.Image:
    """20 x 10 pixels, the left half transparent, the right half dark grey."""
    image = Image.new("RGBA", (20, 10), (10, 10, 10, 255))
    image.paste((200, 200, 200, 0), (0, 0, 10, 10))
    return image


def left_of_one_shade(mode: str) -> Image.Image:
    """20 x 10 pixels in grey or with a palette, the left half 0, the right half 1."""
    image = Image.new(mode, (20, 10), 1)
    image.paste(0, (0, 0, 10, 10))
    if mode == "P":
        image.putpalette([200, 200, 200, 10, 10, 10])
    return image


@pytest.mark.parametrize(
    ("name", "image", "options", "right"),
    [
        ("a.png", left_transparent(), {}, 10),
        ("a.webp", left_transparent(), {"lossless": True}, 10),
        ("a.tif", left_transparent(), {}, 10),
        ("a.gif", left_transparent(), {}, 10),
        ("la.png", left_transparent().convert("LA"), {}, 10),
        ("palette.png", left_transparent().quantize(4), {}, 10),
        ("trns_palette.png", left_of_one_shade("P"), {"transparency": 0}, 10),
        ("trns_grey.png", left_of_one_shade("L"), {"transparency": 0}, 1),
    ],
)
def test_transparency_shows_the_background(
    tmp_path: Path, name: str, image: Image.Image, options: dict[str, Any], right: int
):
    path = write(tmp_path / name, image, **options)
    assert load_photos(config_of(path), refuse_skips)[0].transparent
    found = read_photo(path, "#3366cc")
    assert colour_at(found, 0.25, 0.5) == (0x33, 0x66, 0xCC)
    assert_near(colour_at(found, 0.75, 0.5), (right, right, right), 2)
    assert found.info == {}


def test_an_alpha_channel_without_transparent_pixels_is_not_transparent(tmp_path: Path):
    path = write(tmp_path / "a.png", quarters().convert("RGBA"))
    assert not load_photos(config_of(path), refuse_skips)[0].transparent


def test_a_background_that_is_no_colour_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.png", quarters())
    with pytest.raises(ConfigError, match="background.*reddish.*#rrggbb"):
        load_photos(config_of(path, background="reddish"), refuse_skips)


def red_green_swapped_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ")
    return swapped.replace(b"????", b"gXYZ")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_an_embedded_profile_is_converted_to_srgb(tmp_path: Path, mode: str):
    image = Image.new("RGB", (8, 8), RED).convert(mode)
    path = write(tmp_path / "a.png", image, icc_profile=red_green_swapped_profile())
    found = read_photo(path)
    assert_near(colour_at(found, 0.5, 0.5), GREEN)
    assert found.info == {}


@pytest.mark.parametrize("profile", [b"no profile", red_green_swapped_profile()])
def test_a_profile_that_does_not_fit_counts_as_none(tmp_path: Path, profile: bytes):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    path = write(tmp_path / "a.jpg", image, icc_profile=profile)
    assert_near(colour_at(read_photo(path), 0.5, 0.5), RED)


def test_a_set_without_one_good_photo_is_refused(tmp_path: Path):
    (tmp_path / "a.jpg").touch()
    skipped: list[ConfigError] = []
    with pytest.raises(ConfigError, match="No photo of .* can be used"):
        load_photos(config_of(tmp_path, bad_images="skip"), skipped.append)
    assert len(skipped) == 1


@pytest.mark.parametrize("limit", [None, 10])
def test_the_pixel_limit_is_ours_whatever_the_host_made_of_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    huge = tmp_path / "huge.png"
    huge.write_bytes(png(16_001, 16_001, b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo(write(tmp_path / "a.jpg", quarters())).size == (48, 32)
        with pytest.raises(ConfigError, match="16001 x 16001 pixels.*256 million"):
            read_photo(huge)


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    """`quarters` as a phone would keep it."""
    path = tmp_path / "my phone.heic"
    path.write_bytes(Path(__file__).with_name("quarters.heic").read_bytes())
    return path


@pytest.mark.parametrize("here", [True, False], ids=["in the environment", "in a host"])
def test_heic_is_read(here: bool, heic: Path, monkeypatch: pytest.MonkeyPatch):
    if not here:
        monkeypatch.setitem(sys.modules, "pi_heif", None)
        monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    image = read_photo(heic)
    assert image.size == (48, 32)
    for place, colour in zip(((0.25, 0.25), (0.75, 0.25), (0.25, 0.75)), "ABC", strict=True):
        assert_near(colour_at(image, *place), CORNERS[colour], 12)


def test_heic_in_a_host_without_an_environment_says_what_to_do(
    heic: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setenv("DREAMBOOTH_PYTHON", str(heic))
    heic.rename(heic.with_suffix(".jpg"))
    with pytest.raises(ConfigError, match="is HEIC. Convert it to JPEG.*DREAMBOOTH_PYTHON"):
        read_photo(heic.with_suffix(".jpg"))


@pytest.mark.parametrize("here", [True, False], ids=["in the environment", "in a host"])
def test_half_a_heic_is_told(here: bool, heic: Path, monkeypatch: pytest.MonkeyPatch):
    if not here:
        monkeypatch.setitem(sys.modules, "pi_heif", None)
        monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    heic.write_bytes(heic.read_bytes()[:500])
    with pytest.raises(ConfigError, match="my phone.heic cannot be read"):
        read_photo(heic)


def test_pictures_of_other_formats_are_told_and_not_passed_by(tmp_path: Path):
    for name in ("a.jfif", "b.CR3", "c.dng", "notes.txt"):
        write(tmp_path / "a.jpg", quarters()).replace(tmp_path / name)
    told: list[ConfigError] = []
    photos = load_photos(config_of(tmp_path), told.append)
    assert [photo.name for photo in photos] == ["a.jfif"]
    assert [error.message.split(" is left out")[0][-6:] for error in told] == ["/b.CR3", "/c.dng"]


def test_captions_come_from_the_text_file_or_the_prompt(tmp_path: Path):
    photo = tmp_path / "my.dog.jpg"
    file = tmp_path / "my.dog.txt"
    assert read_caption(photo, "auto", "the prompt") == "the prompt"
    file.write_bytes(b"\xef\xbb\xbf  sks dog \xf0\x9f\x90\x95,\r\n on\tgrass\n")
    assert read_caption(photo, "auto", "the prompt") == "sks dog 🐕, on grass"
    assert read_caption(photo, "txt", "the prompt") == "sks dog 🐕, on grass"
    assert read_caption(photo, "prompt", "the prompt") == "the prompt"
    file.write_text(" \n")
    assert read_caption(photo, "auto", "the prompt") == "the prompt"
