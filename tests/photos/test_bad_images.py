"""Bad photos and captions: each is refused by name or read as its format says, and soon."""

from __future__ import annotations

import io
import os
import re
import socket
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from trainer.config.concept import InstanceConfig
from trainer.errors import ConfigError, visible
from trainer.photos.crops import crops_of
from trainer.photos.decoding.decode import MAX_PHOTO_MIB
from trainer.photos.folder import find_photos
from trainer.photos.images import Photo, load_photos, read_photo
from trainer.photos.report import inspect_photos
from trainer.prompts.tokenizer import token_count

from ..helpers.bad_input import check_error, memory_limit, refused, time_limit

FileMaker = Callable[[Path], object]
Content = bytes | Callable[[], bytes]  # what takes long to make is made when it is needed
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def config_of(*sources: Path, **settings: Any) -> InstanceConfig:
    values = {"instance_prompt": "a photo of sks dog", "resolution": 64} | settings
    return InstanceConfig(tuple(map(str, sources)), **values)


def load(*sources: Path, **settings: Any) -> list[Photo]:
    def refuse(error: ConfigError) -> None:
        raise error

    return load_photos(config_of(*sources, **settings), refuse)


def use(path: Path) -> Photo:
    """Read a photo, look at it and crop it, as a training does."""
    (photo,) = load(path)
    config = config_of(path, num_crops=2)
    assert inspect_photos([photo], config, token_count).photos
    assert all(crop.image.size == (64, 64) for crop in crops_of(photo, config, 0))
    return photo


def picture(mode: str = "RGB", size: tuple[int, int] = (24, 16)) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([x * 10, y * 10, (x + y) * 5], axis=-1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    total = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", total)


def png(
    width: int, height: int, rows: bytes | None = None, *, depth: int = 8, colour: int = 0,
    extra: bytes = b"",
) -> bytes:  # fmt: skip
    """A PNG, black where no rows are given; its header may promise more than its rows hold."""
    bits = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1) * depth
    rows = bytes(height * (1 + (width * bits + 7) // 8)) if rows is None else rows
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + data


def palette_png(transparency: bytes) -> bytes:
    palette = chunk(b"PLTE", bytes(range(9))) + chunk(b"tRNS", transparency)
    return png(4, 4, bytes(20), colour=3, extra=palette)


def apng(frames: int) -> bytes:
    """An animated PNG that promises so many frames."""
    control = struct.pack(">IIIIIHHBB", 0, 4, 4, 0, 0, 1, 10, 0, 0)
    extra = chunk(b"acTL", struct.pack(">II", frames, 0)) + chunk(b"fcTL", control)
    return png(4, 4, extra=extra)


def frames(kind: str, number: int) -> bytes:
    """An animation of so many different frames."""
    images = [Image.new("L", (2, 2), shade % 256) for shade in range(number)]
    return encoded(kind, images[0], save_all=True, append_images=images[1:])


def with_exif(orientation: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, exif=exif)


def exif_entry(tag: int, kind: int, value: int) -> bytes:
    entry = struct.pack("<HHHIII", 1, tag, kind, 1, value, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + entry


def jpeg_with(marker: int, content: bytes) -> bytes:
    good = encoded("JPEG")
    return good[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + good[2:]


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes = b"") -> bytes:
    """A little-endian TIFF of raw (type, count, value) tags; the data starts at byte 1000."""
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head.ljust(1000, b"\0") + data


GREY_TIFF = {
    256: (4, 1, 4), 257: (4, 1, 4), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
    273: (4, 1, 1000), 277: (3, 1, 1), 278: (4, 1, 4), 279: (4, 1, 16),
}  # fmt: skip


def bmp(width: int, height: int) -> bytes:
    """A BMP whose header promises another size than it has."""
    good = encoded("BMP")
    return good[:18] + struct.pack("<ii", width, height) + good[26:]


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def bomb(kind: bytes, start: bytes) -> bytes:
    """A PNG with a chunk of 100 MB of zeros in 100 kB."""
    return png(4, 4, extra=chunk(kind, start + zlib.compress(bytes(100_000_000), 1)))


UNREAD = "cannot be read"
UNKNOWN = "is not an image of a known format"
BAD: dict[str, tuple[Content, str]] = {
    "empty.jpg": (b"", r"is empty \(0 bytes\)"),
    "one_byte.jpg": (b"\xff", UNKNOWN),
    "text.png": (b"not a photo", UNKNOWN),
    "postscript.png": (b"%!PS-Adobe-3.0 EPSF-3.0", UNKNOWN),
    "page.jpg": (b"<!DOCTYPE html><html></html>", UNKNOWN),
    "svg.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', UNKNOWN),
    "zip.png": (b"PK\3\4" + bytes(60), UNKNOWN),
    "pickle.jpg": (b"\x80\2]q\0.", UNKNOWN),
    "zeros.png": (bytes(5000), UNKNOWN),
    "psd.png": (b"8BPS\0\1" + bytes(60), UNKNOWN),
    "cut.jpg": (half(encoded("JPEG", picture(size=(90, 90)))), UNREAD),
    "cut.png": (half(encoded("PNG", picture(size=(90, 90)))), UNREAD),
    "cut.webp": (half(encoded("WEBP", picture(size=(90, 90)))), UNREAD),
    "cut.gif": (half(encoded("GIF", picture(size=(90, 90)))), UNREAD),
    "cut.bmp": (half(encoded("BMP", picture(size=(90, 90)))), UNREAD),
    "cut.tif": (half(encoded("TIFF", picture(size=(90, 90)))), UNREAD),
    "head.jpg": (encoded("JPEG")[:20], UNREAD),
    "head.png": (encoded("PNG")[:20], UNREAD),
    "head.webp": (encoded("WEBP")[:20], UNREAD),
    "head.gif": (encoded("GIF")[:9], UNREAD),
    "head.bmp": (encoded("BMP")[:20], UNREAD),
    "head.tif": (encoded("TIFF")[:9], UNREAD),
    "magic.jpg": (b"\xff\xd8\xff", UNREAD),
    "magic.png": (b"\x89PNG\r\n\x1a\n", UNREAD),
    "wave.webp": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), UNREAD),
    "no_header.png": (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), UNREAD),
    "bad_crc.png": (png(4, 4).replace(b"IDAT", b"IDAt"), UNREAD),
    "header_crc.png": (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13), crc=7), UNREAD),
    "no_rows.png": (png(100, 100, b"\0"), UNREAD),
    "depth.png": (png(4, 4, depth=3), UNREAD),
    "colour.png": (png(4, 4, colour=5), UNREAD),
    "no_width.png": (png(0, 10, b""), "no_width.png"),
    "chunk_size.png": (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + bytes(20), UNREAD),
    "huge_text.png": (lambda: bomb(b"iTXt", b"Comment\0\1\0\0\0"), UNREAD),
    "huge_ztxt.png": (lambda: bomb(b"zTXt", b"Comment\0\0"), UNREAD),
    "huge_profile.png": (lambda: bomb(b"iCCP", b"profile\0\0"), UNREAD),
    "long_trns.png": (palette_png(bytes(300)), UNREAD),
    "huge.png": (png(20_000, 20_000, b""), "20000 x 20000 pixels"),
    "line.png": (png(2**31 - 1, 1, b""), "2147483647 x 1 pixels"),
    "wide.png": (png(65_536, 1), "65536 x 1 pixels"),
    "tall.png": (png(1, 65_536), "1 x 65536 pixels"),
    "huge.bmp": (bmp(60_000, 60_000), "60000 x 60000 pixels"),
    "negative.bmp": (bmp(-5, 5), "bmp"),
    "huge.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0" + encoded("GIF")[13:], "gif"),
    "no_size.jpg": (jpeg_with(0xC0, b"\x08\0\0\0\0\1\1\x11\0"), "no_size.jpg"),
    "huge.jpg": (
        b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xda\0\x08" + bytes(9), "pixels"
    ),
    "no_quantisation.jpg": (jpeg_with(0xDB, b"\xff"), UNREAD),
    "huge.tif": (tiff(GREY_TIFF | {256: (4, 1, 2**31), 257: (4, 1, 2**31)}), "huge.tif"),
    "no_tags.tif": (tiff({}), UNREAD),
    "tag_loop.tif": (b"II*\0\x08\0\0\0\1\0" + bytes(12) + struct.pack("<I", 8), UNREAD),
    "tag_size.tif": (tiff(GREY_TIFF | {273: (4, 2**32 - 1, 8)}), UNREAD),
    "bands.tif": (tiff(GREY_TIFF | {277: (3, 1, 60_000)}), UNREAD),
    "strips.tif": (tiff(GREY_TIFF | {273: (4, 1, 2**31)}), UNREAD),
    "compression.tif": (tiff(GREY_TIFF | {259: (3, 1, 9999)}), UNREAD),
    "heic.jpg": (b"\0\0\0\x18ftypheic" + bytes(100), r"heic.jpg (is HEIC|cannot be read)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_photos_are_refused_by_name(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content() if callable(content) else content)
    with memory_limit(512):
        error = refused(lambda: load(path), message)
    assert str(path) in error.message


def test_bad_photos_are_skipped_where_the_user_says_so(tmp_path: Path) -> None:
    (tmp_path / "a_good.png").write_bytes(encoded("PNG"))
    for name in ("text.png", "cut.jpg", "empty.jpg", "huge.png", "bands.tif"):
        content = BAD[name][0]
        assert isinstance(content, bytes)
        (tmp_path / name).write_bytes(content)
    skipped: list[ConfigError] = []
    photos = load_photos(config_of(tmp_path, bad_images="skip"), skipped.append)
    assert [photo.path.name for photo in photos] == ["a_good.png"]
    assert len(skipped) == 5


ODD: dict[str, Content] = {
    "one_pixel.png": png(1, 1),
    "long.png": png(60_000, 1),
    "high.png": png(1, 60_000),
    "one_bit.png": png(9, 3, depth=1),
    "sixteen_bit.png": png(4, 4, depth=16),
    "sixteen_bit_rgba.png": png(4, 4, (b"\0" + b"\x80" * 32) * 4, depth=16, colour=6),
    "profile_noise.png": png(4, 4, extra=chunk(b"iCCP", b"a\0\0noise")),
    "short_trns.png": palette_png(b"\x80"),
    "empty_trns.png": palette_png(b""),
    "chunks.png": png(4, 4, extra=chunk(b"abCd", b"") * 20_000),
    "tail.png": png(4, 4) + os.urandom(5000),
    "text.png": png(4, 4, extra=chunk(b"tEXt", b"prompt\0" + b"{" * 500_000)),
    "cmyk.jpg": encoded("JPEG", picture("CMYK")),
    "cmyk_rgb_profile.jpg": encoded("JPEG", picture("CMYK"), icc_profile=srgb_profile()),
    "profile.jpg": encoded("JPEG", icc_profile=b"\0" * 200),
    "cut_profile.png": encoded("PNG", icc_profile=srgb_profile()[:200]),
    "swapped_profile.png": encoded("PNG", icc_profile=srgb_profile()[::-1]),
    "profile.webp": encoded("WEBP", icc_profile=b"acsp" * 40),
    "orientation_0.jpg": with_exif(0),
    "orientation_9.jpg": with_exif(9),
    "orientation_huge.jpg": jpeg_with(0xE1, exif_entry(0x0112, 4, 2**31)),
    "orientation_text.jpg": jpeg_with(0xE1, exif_entry(0x0112, 2, 0x786973)),
    "orientation_9.png": with_exif(9, "PNG"),
    "orientation_0.webp": with_exif(0, "WEBP"),
    "padded.jpg": encoded("JPEG")[:2] + b"\xff" * 1_000_000 + encoded("JPEG")[2:],
    "comments.jpg": encoded("JPEG")[:2] + b"\xff\xfe\0\x02" * 20_000 + encoded("JPEG")[2:],
    "frames.gif": lambda: frames("GIF", 2000),
    "frames.webp": lambda: frames("WEBP", 1000),
    "frames.png": lambda: frames("PNG", 1000),
    "frame_count.png": apng(2**31 - 1),
    "frames.tif": lambda: frames("TIFF", 300),
    "grey_alpha.png": encoded("PNG", picture("LA")),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_photos_are_read(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / name, ODD[name]
    path.write_bytes(content() if callable(content) else content)
    with memory_limit(512), time_limit():
        photo = use(path)
    assert photo.path == path


EXIF = {
    "noise": b"Exif\0\0" + bytes(range(200)),
    "empty": b"Exif\0\0",
    "cut": b"Exif\0\0II*\0",
    "far": b"Exif\0\0II*\0\xff\xff\xff\xff",
    "loop": b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0",
    "count": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\xff\xff\xff\xff\6\0\0\0\0\0\0\0",
    "long": b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60_000),
}


@pytest.mark.parametrize("name", EXIF)
def test_broken_exif_ends_in_a_photo_or_a_config_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with(0xE1, EXIF[name]))
    accepted_or_refused(path)


def accepted_or_refused(path: Path, read: Callable[[Path], object] = use) -> None:
    try:
        with time_limit():
            read(path)
    except ConfigError as error:
        check_error(error)
        assert str(path) in error.message


def test_a_bomb_within_the_limit_takes_bounded_memory(tmp_path: Path) -> None:
    """9 million pixels of 16 bits from 18 kB: what a pixel costs bounds the largest photo too."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(3000, 3000, depth=16))
    with memory_limit(3000 * 3000 * 20 >> 20), time_limit():
        assert load(path)[0].size == (3000, 3000)


@POSIX
def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate((MAX_PHOTO_MIB + 1) << 20)  # a hole: it takes no space
    refused(lambda: load(path), "a.jpg has 513 of at most 512 MiB")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


SPECIAL: dict[str, FileMaker] = {
    "pipe.png": lambda path: os.mkfifo(path),
    "loop.png": make_loop,
    "dangling.png": lambda path: path.symlink_to("nowhere"),
    "socket.png": make_socket,
    "device.png": lambda path: path.symlink_to("/dev/zero"),
    "absent.png": lambda path: None,
    "folder.png": lambda path: path.mkdir(),
}


@POSIX
@pytest.mark.parametrize("name", SPECIAL)
def test_what_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have 100 bytes
    path = Path(name)
    SPECIAL[name](path)
    refused(lambda: load(path), name)
    refused(lambda: read_photo(path), name)
    Path("good.png").write_bytes(encoded("PNG"))
    with time_limit():
        assert [photo.path.name for photo in load(tmp_path)] == ["good.png"]


@POSIX
@pytest.mark.parametrize("name", ["pipe.png", "loop.png", "device.png", "folder.png"])
def test_a_caption_that_is_no_file_counts_as_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    SPECIAL[name](tmp_path / "a.txt")
    with time_limit():
        assert load(path)[0].caption == "a photo of sks dog"


@POSIX
@pytest.mark.parametrize("suffix", [".png", ".txt"])
def test_a_file_without_permission_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    path.with_suffix(".txt").write_text("a caption")
    path.with_suffix(suffix).chmod(0)
    if os.access(path.with_suffix(suffix), os.R_OK):
        pytest.skip("this user may read everything")
    refused(lambda: load(path), f"a{suffix} cannot be read")


@pytest.mark.parametrize("source", ["a\0b.png", "\ud800.png", "x" * 5000, "", "x" * 300 + ".png"])
def test_sources_that_no_file_can_have_are_refused(tmp_path: Path, source: str) -> None:
    refused(lambda: find_photos([f"{tmp_path}/{source}"]), "Photos|contains no photos")
    refused(lambda: read_photo(f"{tmp_path}/{source}"), "cannot be read|does not exist|is a folder")


NAMES = {
    "newline": "a\nb.png",
    "control": "a\x1b[31mb.png",
    "right to left": "a\u202egnp.png",
    "line separator": "a\u2028b.png",
    "percent": "a%s{0}.png",
    "quote": "a'\"`$(id);.png",
    "leading dash": "-rf.png",
    "255 bytes": "a" * 251 + ".png",
    "no suffix": "a" * 255,
    "trailing space": "a.png ",
}


@POSIX
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_photos_of_any_name_are_read_and_their_errors_shown_on_one_line(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(encoded("PNG"))
    if len(name) < 255:
        config = config_of(path)
        text = inspect_photos(load(path), config, token_count).text()
        assert visible(text.replace("\n", "")) == text.replace("\n", "")
        assert len(text.splitlines()) < 12
    path.write_bytes(b"no photo")
    refused(lambda: load(path), "a|-rf")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"\xd0\xcf.jpg", b"a\xed\xa0\x80.png"])
def test_a_name_that_is_no_utf8_is_refused_and_may_be_skipped(tmp_path: Path, name: bytes) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(encoded("PNG"))
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    path.write_bytes(encoded("PNG"))
    refused(lambda: load(tmp_path), r"\\udc.. ?.*has a name that is not UTF-8")
    skipped: list[ConfigError] = []
    assert len(load_photos(config_of(tmp_path, bad_images="skip"), skipped.append)) == 1
    assert len(skipped) == 1


@pytest.mark.parametrize("number", [0, 1, 7])
def test_many_bad_photos_give_one_error(tmp_path: Path, number: int) -> None:
    for index in range(number):
        (tmp_path / f"{index}.png").write_bytes(b"no photo")
    refused(lambda: load(tmp_path, bad_images="refuse"), "0.png|contains no photos")


CAPTIONS: dict[str, tuple[bytes | None, str]] = {
    "none": (None, "a.png has no caption in a.txt"),
    "empty": (b"", "a.png has no caption in a.txt"),
    "blank": (b" \r\n\t\n", "a.png has no caption in a.txt"),
    "mark alone": (b"\xef\xbb\xbf", "a.png has no caption in a.txt"),
    "latin-1": ("déjà vu".encode("latin-1"), "a.txt is not UTF-8"),
    "utf-16": ("sks dog".encode("utf-16"), "a.txt is not UTF-8"),
    "utf-16 without mark": ("sks dog".encode("utf-16-le"), "a.txt is not UTF-8"),
    "utf-32": ("sks dog".encode("utf-32"), "a.txt is not UTF-8"),
    "surrogate": (b"sks \xed\xa0\x80 dog", "a.txt is not UTF-8"),
    "overlong": (b"sks \xc0\xaf dog", "a.txt is not UTF-8"),
    "cut": ("sks 狗".encode()[:-1], "a.txt is not UTF-8"),
    "NUL": (b"sks\0dog", "a.txt is not UTF-8"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(50), "a.txt is not UTF-8"),
    "one too long": (b"a" * 8193, "a.txt is over 8 KiB"),
    "10 MB": (b"a " * 5_000_000, "a.txt is over 8 KiB"),
}


@pytest.mark.parametrize("kind", CAPTIONS)
def test_bad_captions_are_refused(tmp_path: Path, kind: str) -> None:
    content, message = CAPTIONS[kind]
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    refused(lambda: load(path, caption_mode="txt"), message)


@pytest.mark.parametrize(
    "caption",
    [
        "a" * 8192,
        "\x1b[31m sks \x07",
        "<|endoftext|>" * 600,
        "狗" * 2700,
        "?!" * 4000,
        "\u202e" * 99,
    ],
    ids=["letters", "control", "marks", "chinese", "punctuation", "direction"],
)
def test_odd_captions_are_taken_and_counted_soon(tmp_path: Path, caption: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    (tmp_path / "a.txt").write_text(caption, "utf-8")
    with time_limit():
        assert use(path).caption == " ".join(caption.split())


SEEDS = [
    encoded("JPEG"), encoded("PNG"), encoded("WEBP"), encoded("GIF"), encoded("BMP"),
    encoded("TIFF"), encoded("TIFF", compression="tiff_lzw"), with_exif(6), palette_png(b"\0"),
    encoded("PNG", icc_profile=srgb_profile()), png(4, 4, depth=16), apng(3),
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=6),
    cut=st.integers(0, 10**6),
)
def test_any_bytes_end_in_a_photo_or_a_config_error(
    seed: bytes, edits: list[tuple[int, bytes]], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(seed)
    for place, new in edits:
        place %= len(content)
        content[place : place + len(new)] = new
    path = tmp_path_factory.getbasetemp() / "mutated.png"
    path.write_bytes(content[: cut % len(content)] if cut % 4 == 0 else content)
    accepted_or_refused(path, read_photo)


def test_the_tables_hold_what_they_say() -> None:
    assert len(BAD) + len(ODD) + len(EXIF) + len(SPECIAL) + len(NAMES) + len(CAPTIONS) >= 120
    assert all(re.fullmatch(r"[a-z0-9_]+\.[a-z]+", name) for name in (*BAD, *ODD))
