"""Formats, depths, transparency and colors: every cell gives the right pixels or is refused."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from trainer.errors import ConfigError
from trainer.photos.images import find_photos, read_photo

from ..helpers.bad_input import memory_limit, refused, time_limit

BROWN = (128, 64, 16)
PINK = "#ff00ff"
Pixel = tuple[int, ...]


def chunk(kind: bytes, data: bytes, damage: int = 0) -> bytes:
    total = zlib.crc32(kind + data) ^ damage
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", total)


def png(pixels: Sequence[Sequence[int]], depth: int, color: int, *extra: bytes) -> bytes:
    """A PNG of one row of pixels of raw samples."""
    bits = "".join(f"{value:0{depth}b}" for pixel in pixels for value in pixel)
    row = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    header = struct.pack(">IIBBBBB", len(pixels), 1, depth, color, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(b"\0" + row)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(
    pixels: Any, color: int, *, kind: str = "<u2", bits: int = 0, form: int = 1, big: bool = False,
    packed: bytes | None = None, **tags: Sequence[int],
) -> bytes:  # fmt: skip
    """A TIFF of one row of pixels, written with only the tags' own numbers."""
    values = np.asarray(pixels, kind)
    order, samples = kind[0] if kind[0] in "<>" else "<", values.shape[-1]
    data = values.tobytes() if packed is None else packed
    bits = bits or values.itemsize * 8
    entries: dict[int, Sequence[int]] = {
        256: [len(values)], 257: [1], 258: [bits] * samples, 259: [1], 262: [color], 273: [0],
        277: [samples], 278: [1], 279: [len(data)], 339: [form] * samples,
    } | {int(name[3:]): value for name, value in tags.items()}  # fmt: skip
    if entries[259] == [8]:
        data = zlib.compress(data)
        entries[279] = [len(data)]
    word, inline, width = ("Q", 8, 20) if big else ("I", 4, 12)
    start = (24 if big else 10) + width * len(entries) + inline
    entries[273] = [start + 400]
    body, more = b"", b""
    for tag, numbers in sorted(entries.items()):
        content = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(content) > inline:
            place = struct.pack(order + word, start + len(more))
            more += content
        else:
            place = content.ljust(inline, b"\0")
        body += struct.pack(f"{order}HH{word}", tag, 4, len(numbers)) + place
    mark = b"II" if order == "<" else b"MM"
    start_tags = (43, 8, 0, 16, len(entries)) if big else (42, 8, len(entries))
    head = struct.pack(order + ("HHHQQ" if big else "HIH"), *start_tags)
    return mark + head + body + bytes(inline) + more.ljust(400, b"\0") + data


def bmp(pixels: Sequence[Pixel], header: bytes = b"") -> bytes:
    """A BMP of 32 bits with masks for red, green, blue and alpha, and what a newer header adds."""
    data = b"".join(bytes((b, g, r, a)) for r, g, b, a in pixels)
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    length = 40 + len(masks) + len(header)
    info = struct.pack("<IiiHHIIiiII", length, len(pixels), 1, 1, 32, 3, len(data), 0, 0, 0, 0)
    place = 14 + length
    return (
        b"BM" + struct.pack("<IHHI", place + len(data), 0, 0, place) + info + masks + header + data
    )


def calibrated(primaries: Sequence[float], gamma: float) -> bytes:
    """The rest of a V4 header: CIE XYZ of red, green and blue, and a gamma."""
    points = struct.pack("<9i", *(round(value * 2**30) for value in primaries))
    return bytes(4) + points + struct.pack("<I", round(gamma * 65536)) * 3


def encoded(kind: str, image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(*pixel: int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (16, 16), pixel if mode != "L" else sum(pixel))


def deep(*pixel: int) -> list[int]:
    return [value * 257 for value in pixel]


def key(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


TWELVE_BITS = b"\x80\x08\x00"  # two pixels of 2048
V4_ENDS = bytes(52)
OPAQUE_AND_NOT = [[*deep(*BROWN), 65535], [*deep(*BROWN), 0]]
# File, first pixel, last pixel on pink; a text instead of them is what the refusal says.
CELLS: dict[str, tuple[bytes, Any, Any]] = {
    **{
        f"png grey {depth}": (png([[0], [2**depth - 1]], depth, 0), (0,) * 3, (255,) * 3)
        for depth in (1, 2, 4, 8, 16)
    },
    **{
        f"png grey {depth} transparent": (
            png([[1], [0]], depth, 0, key(0)),
            (255 // (2**depth - 1),) * 3,
            (255, 0, 255),
        )
        for depth in (1, 2, 4, 8)
    },
    "png grey 4 shade 5": (png([[6], [5]], 4, 0, key(5)), (102,) * 3, (255, 0, 255)),
    "png grey 16 transparent": (png([[257], [256]], 16, 0, key(256)), (1,) * 3, (255, 0, 255)),
    "png rgb 8": (png([BROWN] * 2, 8, 2), BROWN, BROWN),
    "png rgb 8 transparent": (
        png([(128, 64, 17), BROWN], 8, 2, key(*BROWN)),
        (128, 64, 17),
        (255, 0, 255),
    ),
    "png rgb 16": (png([deep(*BROWN)] * 2, 16, 2), BROWN, BROWN),
    "png rgb 16 transparent": (
        png([[32896, 16448, 4113], deep(*BROWN)], 16, 2, key(*deep(*BROWN))),
        BROWN,
        (255, 0, 255),
    ),
    "png grey alpha 8": (png([(128, 255), (128, 0)], 8, 4), (128,) * 3, (255, 0, 255)),
    "png grey alpha 16": (png([deep(128, 255), deep(128, 0)], 16, 4), (128,) * 3, (255, 0, 255)),
    "png rgba 8": (png([(*BROWN, 255), (*BROWN, 0)], 8, 6), BROWN, (255, 0, 255)),
    "png rgba 16": (png(OPAQUE_AND_NOT, 16, 6), BROWN, (255, 0, 255)),
    "png palette 4": (
        png([[1], [0]], 4, 3, chunk(b"PLTE", bytes(3) + bytes(BROWN)), chunk(b"tRNS", b"\0")),
        BROWN,
        (255, 0, 255),
    ),
    "png all transparent": (png([(*BROWN, 0)] * 2, 8, 6), "wholly transparent", None),
    **{
        f"tiff rgb 16 {order} {coding}": (
            tiff([deep(*BROWN)] * 2, 2, kind=f"{order}u2", tag259=[coding]),
            BROWN,
            BROWN,
        )
        for order in "<>"
        for coding in (1, 8)
    },
    "tiff rgb 8": (tiff([BROWN] * 2, 2, kind="u1"), BROWN, BROWN),
    "tiff rgb 16 big": (tiff([deep(*BROWN)] * 2, 2, big=True), BROWN, BROWN),
    "tiff rgba 16": (tiff(OPAQUE_AND_NOT, 2, tag338=[2]), BROWN, (255, 0, 255)),
    "tiff rgba 16 premultiplied": (
        tiff([[*deep(*BROWN), 65535], [0] * 4], 2, tag338=[1]),
        BROWN,
        (255, 0, 255),
    ),
    "tiff cmyk 8": (tiff([(127, 191, 239, 0)] * 2, 5, kind="u1"), BROWN, BROWN),
    "tiff cmyk 16": (tiff([deep(127, 191, 239, 0)] * 2, 5), BROWN, BROWN),
    "tiff grey 12": (tiff([[0]] * 2, 1, bits=12, packed=TWELVE_BITS), (128,) * 3, (128,) * 3),
    "tiff grey 16": (tiff([deep(10), deep(200)], 1), (10,) * 3, (200,) * 3),
    "tiff grey 16 big-endian": (tiff([deep(10), deep(200)], 1, kind=">u2"), (10,) * 3, (200,) * 3),
    "tiff white is zero 8": (tiff([[10], [200]], 0, kind="u1"), (245,) * 3, (55,) * 3),
    "tiff white is zero 16": (tiff([deep(10), deep(200)], 0), (245,) * 3, (55,) * 3),
    "tiff grey 32": (tiff([[0], [2**32 - 1]], 1, kind="<u4"), (0,) * 3, (255,) * 3),
    "tiff grey float": (tiff([[0.0], [1.0]], 1, kind="<f4", form=3), (0,) * 3, (255,) * 3),
    "tiff grey alpha 8": (
        tiff([(128, 255), (128, 0)], 1, kind="u1", tag338=[2]),
        (128,) * 3,
        (255, 0, 255),
    ),
    "tiff lab 8": (tiff([(0, 0, 0), (255, 0, 0)], 8, kind="u1"), (0,) * 3, (255,) * 3),
    "tiff rgb float": (
        tiff([(0.5, 0.25, 0.1)] * 2, 2, kind="<f4", form=3),
        "3 x 32 bits of floating-point RGB",
        None,
    ),
    "tiff rgb half": (
        tiff([(0.5, 0.25, 0.1)] * 2, 2, kind="<f2", form=3),
        "3 x 16 bits of floating-point RGB",
        None,
    ),
    "tiff grey half": (
        tiff([[0.5]] * 2, 1, kind="<f2", form=3),
        "1 x 16 bits of floating-point gray",
        None,
    ),
    "tiff grey double": (
        tiff([[0.5]] * 2, 1, kind="<f8", form=3),
        "1 x 64 bits of floating-point",
        None,
    ),
    "tiff rgb 32": (tiff([BROWN] * 2, 2, kind="<u4"), "3 x 32 bits of RGB", None),
    "tiff rgb 12": (tiff([BROWN] * 2, 2, bits=12, packed=bytes(9)), "3 x 12 bits of RGB", None),
    "tiff grey 10": (tiff([[0]] * 2, 1, bits=10, packed=bytes(9)), "1 x 10 bits of gray", None),
    "tiff grey signed": (
        tiff([[9]] * 2, 1, kind="<i2", form=2),
        "1 x 16 bits of signed gray",
        None,
    ),
    "tiff grey alpha 16": (tiff([deep(128, 0)] * 2, 1, tag338=[2]), "2 x 16 bits of gray", None),
    "tiff lab 16": (tiff([deep(*BROWN)] * 2, 8), "3 x 16 bits of Lab", None),
    "tiff predicted": (tiff([BROWN] * 2, 2, kind="u1", tag317=[2]), "3 x 8 bits of RGB", None),
    "bmp 24": (encoded("BMP", plain(*BROWN)), BROWN, BROWN),
    "bmp alpha": (bmp([(*BROWN, 255), (*BROWN, 0)], V4_ENDS), BROWN, (255, 0, 255)),
    "bmp alpha never written": (bmp([(*BROWN, 0)] * 2, V4_ENDS), BROWN, BROWN),
    "gif": (encoded("GIF", plain(*BROWN)), BROWN, BROWN),
    "webp": (encoded("WEBP", plain(*BROWN), lossless=True), BROWN, BROWN),
    "webp alpha": (
        encoded("WEBP", plain(*BROWN, 0, mode="RGBA"), lossless=True),
        "wholly transparent",
        None,
    ),
    "jpeg": (encoded("JPEG", plain(*BROWN), quality=100), BROWN, BROWN),
    "jpeg grey": (encoded("JPEG", plain(128, mode="L")), (128,) * 3, (128,) * 3),
    "jpeg cmyk": (encoded("JPEG", plain(127, 191, 239, 0, mode="CMYK"), quality=100), BROWN, BROWN),
    "avif": (encoded("AVIF", plain(*BROWN), quality=100), BROWN, BROWN),
    "avif alpha": (encoded("AVIF", plain(*BROWN, 0, mode="RGBA")), "wholly transparent", None),
}


def check(path: Path, content: bytes, first: Any, last: Any, near: int = 2) -> None:
    path.write_bytes(content)
    if isinstance(first, str):
        with pytest.raises(ConfigError, match=first) as caught:
            read_photo(path)
        assert str(path) in caught.value.message
        return
    found = np.asarray(read_photo(path, PINK)).astype(int)
    assert np.abs(found[0, 0] - first).max() <= near, found[0, 0]
    assert np.abs(found[-1, -1] - last).max() <= near, found[-1, -1]


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_is_right_or_refused(tmp_path: Path, name: str) -> None:
    check(tmp_path / "a.bin", *CELLS[name])


def test_a_refused_kind_says_how_to_save_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(CELLS["tiff rgb half"][0])
    with pytest.raises(ConfigError, match="Save it as 8-bit PNG or JPEG"):
        read_photo(path)


def exif(space: int, mark: str = "", orientation: int = 1) -> bytes:
    """EXIF with a color space, and DCF's mark of it."""
    made = Image.Exif()
    made[0x0112] = orientation
    made.get_ifd(0x8769)[0xA001] = space
    if mark:
        made.get_ifd(0x8769)[0xA005] = {1: mark}
    return made.tobytes()


def measured(
    red: Sequence[float], green: Sequence[float], blue: Sequence[float], gamma: float
) -> list[bytes]:
    """PNG's gAMA and cHRM."""
    edges = [round(value * 100_000) for value in (0.3127, 0.329, *red, *green, *blue)]
    return [
        chunk(b"gAMA", struct.pack(">I", round(100_000 / gamma))),
        chunk(b"cHRM", struct.pack(">8I", *edges)),
    ]


GREEN = (40, 200, 60)
ADOBE = (0, 201, 37)  # what GREEN of Adobe RGB is in sRGB
ADOBE_MEASURED = measured((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), 563 / 256)
ADOBE_XYZ = (0.57667, 0.29734, 0.02703, 0.18556, 0.62736, 0.07069, 0.18823, 0.07529, 0.99134)
P3_IN_SRGB = (0, 204, 12)  # GREEN of Display P3


def coded(primaries: int, transfer: int, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, full)))


def icc(data: bytes) -> bytes:
    return chunk(b"iCCP", b"a\0\0" + zlib.compress(data))


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
COLORS: dict[str, tuple[bytes, Any]] = {
    "jpeg adobe by exif": (
        encoded("JPEG", plain(*GREEN), quality=100, subsampling=0, exif=exif(65535, "R03")),
        ADOBE,
    ),
    "jpeg srgb by exif": (
        encoded("JPEG", plain(*GREEN), quality=100, subsampling=0, exif=exif(1, "R98")),
        GREEN,
    ),
    "jpeg uncalibrated": (
        encoded("JPEG", plain(*GREEN), quality=100, subsampling=0, exif=exif(65535)),
        GREEN,
    ),
    "jpeg profile before exif": (
        encoded(
            "JPEG",
            plain(*GREEN),
            quality=100,
            subsampling=0,
            exif=exif(65535, "R03"),
            icc_profile=SRGB_PROFILE,
        ),
        GREEN,
    ),
    "webp adobe by exif": (
        encoded("WEBP", plain(*GREEN), lossless=True, exif=exif(65535, "R03")),
        ADOBE,
    ),
    "png adobe by exif": (
        png([GREEN] * 2, 8, 2, chunk(b"eXIf", exif(65535, "R03").removeprefix(b"Exif\0\0"))),
        ADOBE,
    ),
    "tiff adobe by exif": (encoded("TIFF", plain(*GREEN), exif=exif(2)), ADOBE),
    "avif adobe by exif is told sRGB": (
        encoded("AVIF", plain(*GREEN), quality=100, exif=exif(65535, "R03")),
        GREEN,
    ),
    "png measured": (png([GREEN] * 2, 8, 2, *ADOBE_MEASURED), ADOBE),
    "png measured 16": (png([deep(*GREEN)] * 2, 16, 2, *ADOBE_MEASURED), ADOBE),
    "png sRGB before measured": (
        png([GREEN] * 2, 8, 2, chunk(b"sRGB", b"\0"), *ADOBE_MEASURED),
        GREEN,
    ),
    "png profile before measured": (
        png([GREEN] * 2, 8, 2, icc(SRGB_PROFILE), *ADOBE_MEASURED),
        GREEN,
    ),
    "png damaged profile": (png([GREEN] * 2, 8, 2, icc(b"noise"), *ADOBE_MEASURED), ADOBE),
    "png usual gamma": (png([GREEN] * 2, 8, 2, chunk(b"gAMA", struct.pack(">I", 45455))), GREEN),
    "png linear grey": (
        png([[128]] * 2, 8, 0, chunk(b"gAMA", struct.pack(">I", 100_000))),
        (188,) * 3,
    ),
    "png impossible chromaticities": (png([GREEN] * 2, 8, 2, chunk(b"cHRM", bytes(32))), GREEN),
    "png coded sRGB before profile": (png([GREEN] * 2, 8, 2, coded(1, 13), *ADOBE_MEASURED), GREEN),
    "png Display P3": (png([GREEN] * 2, 8, 2, coded(12, 13)), P3_IN_SRGB),
    "png BT.2020": (png([(255, 255, 255)] * 2, 8, 2, coded(9, 14)), (255,) * 3),
    # 100 nits are 0.508 in PQ; of white's 203 nits 0.4926 of the light, 186 in sRGB.
    "png PQ 16": (png([[33297] * 3] * 2, 16, 2, coded(9, 16)), (186,) * 3),
    "png PQ 8": (png([[130] * 3] * 2, 8, 2, coded(9, 16)), (187,) * 3),
    "png PQ sun": (png([[65535] * 3] * 2, 16, 2, coded(9, 16)), (255,) * 3),
    # BT.2408: 75% of HLG's signal is white, of which the knee leaves 0.908.
    "png HLG white": (png([[49151] * 3] * 2, 16, 2, coded(9, 18)), (244,) * 3),
    "png HLG black": (png([[0] * 3] * 2, 16, 2, coded(9, 18)), (0,) * 3),
    "png unknown primaries": (png([GREEN] * 2, 8, 2, coded(10, 13)), "color primaries 10"),
    "png narrow": (png([GREEN] * 2, 8, 2, coded(9, 16, 0)), "narrow range"),
    "bmp calibrated": (bmp([(*GREEN, 255)] * 2, calibrated(ADOBE_XYZ, 563 / 256)), ADOBE),
    "bmp sRGB": (bmp([(*GREEN, 255)] * 2, b"BGRs" + bytes(48)), GREEN),
}


@pytest.mark.parametrize("name", COLORS)
def test_colors_become_srgb_wherever_they_are_told(tmp_path: Path, name: str) -> None:
    content, wanted = COLORS[name]
    check(tmp_path / "a.bin", content, wanted, wanted)


def test_a_profile_in_a_bmp_is_used(tmp_path: Path) -> None:
    profile = (
        SRGB_PROFILE.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    )
    header = b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + 8, len(profile), 0)
    content = bmp([(255, 0, 0, 255)] * 2, header) + profile
    check(tmp_path / "a.bmp", content, (0, 255, 0), (0, 255, 0))


def recoded(content: bytes, primaries: int, transfer: int) -> bytes:
    """A HEIC or AVIF whose color box names other code points."""
    place = content.index(b"nclx") + 4
    return content[:place] + struct.pack(">HH", primaries, transfer) + content[place + 4 :]


def heic() -> bytes:
    return Path(__file__).with_name("quarters.heic").read_bytes()


@pytest.mark.parametrize("transfer", [13, 16, 18])
def test_code_points_of_heic_are_used(tmp_path: Path, transfer: int) -> None:
    """Red of NTSC's primaries has some green in sRGB; in HDR it glares as much as is shown."""
    path = tmp_path / "a.heic"
    path.write_bytes(recoded(heic(), 6, transfer))
    red = np.asarray(read_photo(path)).astype(int)[8, 12]
    assert np.abs(red - ((247, 36, 0) if transfer == 13 else (255, 37, 0))).max() <= 4


def test_code_points_of_avif_are_used(tmp_path: Path) -> None:
    content = encoded("AVIF", plain(*GREEN), quality=100)
    check(tmp_path / "a.avif", recoded(content, 12, 13), P3_IN_SRGB, P3_IN_SRGB, 14)
    grey = recoded(encoded("AVIF", plain(130, 130, 130), quality=100), 9, 16)
    check(tmp_path / "b.avif", grey, (187,) * 3, (187,) * 3)


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_code_points_that_are_not_known_are_refused(tmp_path: Path, kind: str) -> None:
    content = heic() if kind == "heic" else encoded("AVIF", plain(*GREEN))
    check(tmp_path / f"a.{kind}", recoded(content, 10, 13), "color primaries 10", None)


HARMLESS = {
    "2 MB profile": icc(SRGB_PROFILE + np.random.default_rng(0).bytes(2 << 20)),
    "2 MB of text": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 << 20))),
    "2 MB of international text": chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(2 << 20))),
    "damaged text": chunk(b"zTXt", b"a\0\0noise"),
    "text of a wrong sum": chunk(b"tEXt", b"a\0b", 1),
    "damaged eXIf": chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    "eXIf of noise": chunk(b"eXIf", bytes(range(200))),
    "eXIf of a wrong sum": chunk(b"eXIf", b"II*\0", 1),
    "empty chunks": b"".join(
        chunk(kind, b"")
        for kind in (b"iTXt", b"zTXt", b"iCCP", b"eXIf", b"gAMA", b"cHRM", b"cICP", b"tRNS")
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_png_with_whole_pixels_is_read_whatever_it_says_beside_them(
    tmp_path: Path, name: str
) -> None:
    check(tmp_path / "a.png", png([GREEN] * 2, 8, 2, HARMLESS[name]), GREEN, GREEN)


def test_orientation_is_applied_after_color(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2), GREEN)
    image.paste((0, 0, 0), (0, 0, 1, 2))
    path = tmp_path / "a.png"
    content = encoded("PNG", image, exif=exif(65535, "R03", 6))
    path.write_bytes(content)
    found = read_photo(path)
    assert found.size == (2, 4)
    assert np.abs(np.asarray(found)[3, 0].astype(int) - ADOBE).max() <= 1
    assert np.asarray(found)[0].max() == 0


@pytest.mark.parametrize("here", [True, False], ids=["in the environment", "in a host"])
@pytest.mark.parametrize("name", ["a.HIF", "a.avif"])
def test_avif_and_hif_of_a_folder_are_read(
    tmp_path: Path, name: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not here:
        monkeypatch.setitem(sys.modules, "pi_heif", None)
        monkeypatch.setitem(sys.modules, "PIL.AvifImagePlugin", None)
        monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    avif = encoded("AVIF", plain(*GREEN), quality=100)
    (tmp_path / name).write_bytes(heic() if name == "a.HIF" else recoded(avif, 12, 13))
    (path,) = find_photos([tmp_path])
    found = np.asarray(read_photo(path)).astype(int)
    wanted = (255, 0, 0) if name == "a.HIF" else P3_IN_SRGB
    assert np.abs(found[3, 3] - wanted).max() <= 12


Maker = Callable[[], bytes]


def resized_heic() -> bytes:
    """A HEIC of under 900 bytes that promises 256 million pixels."""
    place = heic().index(b"ispe") + 8
    return heic()[:place] + struct.pack(">II", 16_000, 16_000) + heic()[place + 8 :]


def wide_sequence() -> bytes:
    """A HEIC whose boxes are right, but whose HEVC header promises 256 million pixels."""
    place = heic().index(bytes.fromhex("420101"))  # the sequence parameters, of 42 bytes
    # Version and profile, then Exp-Golomb numbers: which one, how many colors, width and height.
    bits = "0" * 7 + "1" + "1" * 96 + "1" + "010" + 2 * ("0" * 13 + f"{16_001:b}")
    bits = bits.ljust(40 * 8, "1")
    return heic()[: place + 2] + int(bits, 2).to_bytes(40, "big") + heic()[place + 42 :]


BOMBS: dict[str, tuple[Maker, str]] = {
    "tiny.heic": (resized_heic, "16000 x 16000 pixels in only 8[0-9]{2} bytes"),
    "black.png": (
        lambda: png_of_zeros(15_900, 15_900, 1), "15900 x 15900 pixels in only 2[0-9]{2},[0-9]{3}"
    ),
    "deep.png": (lambda: png_of_zeros(12_000, 12_000, 6), "823 of at most 768 MiB when decoded"),
    "sequence.heic": (wide_sequence, "16000 x 16000 pixels in only"),
    "small.avif": (
        lambda: encoded("AVIF", Image.new("RGB", (7000, 7000)), speed=10), "7000 x 7000 pixels"
    ),
}  # fmt: skip


def png_of_zeros(width: int, height: int, bytes_per_pixel: int) -> bytes:
    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(1 + width * bytes_per_pixel)) for _ in range(height)]
    depth, color = (8, 0) if bytes_per_pixel == 1 else (16, 2)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    data = chunk(b"IDAT", b"".join([*rows, packer.flush()]))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_too_large_for_its_bytes_is_refused_before_decoding(
    tmp_path: Path, name: str
) -> None:
    make, message = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(make())
    with memory_limit(64), time_limit(2):
        refused(lambda: read_photo(path), message)
