"""PNG: Pillow decodes the pixels; the chunks about color and transparency are read here.

Pillow sees none of the other chunks, so that text, profiles and animations of any size or damage
cannot keep whole pixels from being read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from .color import Meaning, Primaries, Space, coded_space, exif_meaning, is_deep_light, space_of
from .picture import (
    Picture,
    Refused,
    check_bounds,
    exif_from,
    orientation_of,
    picture_of,
    pillow_file,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["read_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_HEAD = b"\0\0\0\x0dIHDR"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
FACT_CHUNKS = (b"tRNS", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")
PACKED_CHUNKS = (b"iCCP", b"zTXt", b"iTXt")
MAX_FACT_BYTES = 1 << 20
MAX_UNPACKED_BYTES = 16 << 20  # of all profiles and texts of a file
GREY, RGB, PALETTE = 0, 2, 3
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, 4: 2, 6: 4}


@dataclass
class Chunks:
    """A PNG's chunks.

    Args:
        pixels: a PNG file of those that make the pixels.
        facts: the contents of the first of each kind that says more about them.
    """

    pixels: bytearray = field(default_factory=lambda: bytearray(SIGNATURE))
    facts: dict[bytes, bytes] = field(default_factory=dict)
    unpacked: int = 0

    @property
    def header(self) -> tuple[int, int, int, int]:
        """Width, height, bits per sample and color type."""
        head = bytes(self.pixels[8:33])
        if head[:8] != HEADER_HEAD or zlib.crc32(head[4:21]) != int.from_bytes(head[21:], "big"):
            raise ValueError("its header is missing or damaged")
        return struct.unpack(">IIBB", self.pixels[16:26])

    def image(self) -> Any:
        """Open the pixels with Pillow, which reads the header."""
        return pillow_file("PngImagePlugin", "PngImageFile", BytesIO(self.pixels))


def read_png(stream: BinaryIO, file_bytes: int) -> Picture:
    """Decode a PNG, or the first frame of an animated one."""
    chunks = read_chunks(stream, file_bytes)
    depth, color = chunks.header[2:]
    meaning, orientation = png_meaning(chunks.facts)
    key = transparent_key(chunks.facts.get(b"tRNS"), color)
    image = chunks.image()
    deep = depth == 16 and color in (GREY, RGB)
    if deep and (color == GREY or key is not None or is_deep_light(meaning.space)):
        samples = deep_samples(image, chunks, color)
        return Picture(samples, opacity(samples, key), orientation, meaning)
    picture = picture_of(image, meaning, orientation)
    if key is None:
        return picture
    import numpy as np

    top = 2**depth - 1
    scaled = [(value & top) * (255 // top) for value in key]  # Pillow scales fewer bits to eight
    values = np.asarray(picture.pixels)
    alpha = opacity(values.reshape(*values.shape[:2], -1), scaled)
    return Picture(picture.pixels, alpha, orientation, meaning)


def read_chunks(stream: BinaryIO, file_bytes: int) -> Chunks:
    """Sort a file's chunks; a damaged one that the pixels do not need is left out."""
    chunks = Chunks()
    stream.seek(len(SIGNATURE))
    for kind, length in chunk_heads(stream, file_bytes):
        keep = kind in PIXEL_CHUNKS or (kind == b"tRNS" and chunks.header[3] == PALETTE)
        if keep:
            chunks.pixels += struct.pack(">I4s", length, kind) + stream.read(length + 4)
        elif kind in FACT_CHUNKS and length <= MAX_FACT_BYTES:
            add_fact(chunks, kind, stream.read(length + 4))
        elif kind in PACKED_CHUNKS:
            add_packed(chunks, kind, length, stream)
        if kind == b"IHDR":
            check_header(chunks, file_bytes)
    return chunks


def chunk_heads(stream: BinaryIO, file_bytes: int) -> Iterator[tuple[bytes, int]]:
    """Yield kind and length of the chunks, up to the end or what is not a chunk."""
    place = stream.tell()
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        yield kind, min(length, file_bytes)
        place += length + 12
        if kind == b"IEND" or place > file_bytes:
            return
        stream.seek(place)


def check_header(chunks: Chunks, file_bytes: int) -> None:
    width, height, depth, color = chunks.header
    if color not in CHANNELS:
        raise ValueError(f"it has color type {color}")
    check_bounds((width, height), file_bytes, CHANNELS[color] * max(1, depth // 8))


def add_fact(chunks: Chunks, kind: bytes, content: bytes) -> None:
    data, total = content[:-4], content[-4:]
    if total == struct.pack(">I", zlib.crc32(kind + data)):
        chunks.facts.setdefault(kind, data)


def add_packed(chunks: Chunks, kind: bytes, length: int, stream: BinaryIO) -> None:
    """Keep a profile, and refuse texts and profiles that only exist to fill the memory."""
    if length > MAX_UNPACKED_BYTES:
        return  # it is never unpacked
    rest = stream.read(length).partition(b"\0")[2]
    if kind == b"iTXt":  # two flags, language and keyword come first
        packed = rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""
    else:
        packed = rest[1:]
    try:
        content = unpacked(packed, MAX_UNPACKED_BYTES - chunks.unpacked)
    except zlib.error:  # damaged, and not needed
        return
    chunks.unpacked += len(content)
    if kind == b"iCCP":
        chunks.facts.setdefault(kind, content)


def unpacked(packed: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    content = stream.decompress(packed, max(1, limit)) if packed else b""
    if stream.unconsumed_tail:
        mib = MAX_UNPACKED_BYTES >> 20
        raise Refused(f"cannot be read: its texts and profile have over {mib} MiB unpacked")
    return content


def png_meaning(facts: dict[bytes, bytes]) -> tuple[Meaning, int]:
    """Return what the chunks say about color, the newest kind first, and EXIF's orientation."""
    exif = exif_from(facts.get(b"eXIf", b""))
    told = exif_meaning(exif, None)
    if len(code := facts.get(b"cICP", b"")) == 4:
        if code[3] != 1:
            raise Refused("has colors in a video's narrow range, which is not read")
        told = Meaning(space=coded_space(code[0], code[1]))
    elif b"iCCP" in facts:
        # A damaged profile leaves what the older chunks say.
        told = Meaning(facts[b"iCCP"], measured_space(facts))
    elif b"sRGB" in facts:
        told = Meaning()
    elif b"gAMA" in facts or b"cHRM" in facts:
        told = Meaning(space=measured_space(facts))
    return told, orientation_of(exif)


def measured_space(facts: dict[bytes, bytes]) -> Space | None:
    gamma = primaries = None
    if len(data := facts.get(b"gAMA", b"")) == 4 and any(data):
        gamma = 100_000 / struct.unpack(">I", data)[0]
    if len(data := facts.get(b"cHRM", b"")) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", data)]
        primaries = cast(Primaries, (*values[2:], *values[:2]))
    return space_of(primaries, gamma)


def transparent_key(data: bytes | None, color: int) -> tuple[int, ...] | None:
    """Return the one shade or color that is transparent."""
    wanted = {GREY: 2, RGB: 6}.get(color)
    if data is None or len(data) != wanted:
        return None
    return struct.unpack(f">{len(data) // 2}H", data)


def opacity(values: NDArray[Any], key: Any) -> Image | None:
    """Return the alpha of samples (H, W, C) of which one value is transparent."""
    import numpy as np
    from PIL import Image as pillow

    if key is None:
        return None
    opaque = (values != np.array(key)).any(axis=2)
    return pillow.fromarray(opaque.astype(np.uint8) * 255)


def deep_samples(image: Any, chunks: Chunks, color: int) -> NDArray[Any]:
    """Return all 16 bits, (H, W, 1 or 3). Pillow reads eight of RGB's at a time."""
    import numpy as np

    if color == GREY:
        return np.asarray(image).astype(np.uint16)[..., None]
    low = chunks.image()
    low.tile = [(*tile[:3], "RGB;16L") for tile in low.tile]  # the second of two bytes
    high = np.asarray(image).astype(np.uint16)
    return (high << 8) | np.asarray(low)
