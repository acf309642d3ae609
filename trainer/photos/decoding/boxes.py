"""The boxes of HEIC and AVIF files that say how large the pixels are and what they mean."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["coded_size", "nclx"]

PARENTS = (b"meta", b"iprp", b"ipco")  # the way to the properties
MAX_BOXES = 10_000
SEQUENCE_PARAMETERS = 33  # the kind of an HEVC unit


def properties(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the properties of a file's images; nothing where it is damaged."""
    start, end = 0, len(content)
    for parent in PARENTS:
        for kind, place, stop in boxes(content, start, end):
            if kind == parent:
                start, end = place + (4 if kind == b"meta" else 0), stop
                break
        else:
            return
    for kind, place, stop in boxes(content, start, end):
        yield kind, content[place:stop]


def boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the contents of each box."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if length == 1 and start + 16 <= end:
            length, head = struct.unpack_from(">Q", content, start + 8)[0], 16
        stop = min(end, start + length) if length else end
        if stop < start + head:
            return
        yield kind, start + head, stop
        start = stop


def nclx(content: bytes) -> tuple[int, int] | None:
    """Return the code points of color primaries and transfer, if the file names some."""
    for kind, data in properties(content):
        if kind == b"colr" and data[:4] == b"nclx" and len(data) >= 8:
            return struct.unpack(">HH", data[4:8])
    return None


def coded_size(content: bytes) -> tuple[int, int]:
    """Return the largest width and height of any image in a file: its decoders allocate them.

    HEVC's own header counts too, because its decoder believes nothing else.
    """
    sizes = [(1, 1)]
    for kind, data in properties(content):
        if kind == b"ispe" and len(data) >= 12:
            sizes.append(struct.unpack(">II", data[4:12]))
        if kind == b"hvcC":
            sizes += [sequence_size(unit) for unit in units(data)]
    return max(sizes, key=lambda size: size[0] * size[1])


def units(data: bytes) -> Iterator[bytes]:
    """Yield the sequence parameters of an HEVC configuration."""
    place = 23
    for _ in range(data[22] if len(data) > 22 else 0):
        kind, count = data[place] & 63, int.from_bytes(data[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            length = int.from_bytes(data[place : place + 2], "big")
            if kind == SEQUENCE_PARAMETERS:
                yield data[place + 2 : place + 2 + length]
            place += 2 + length
        if place >= len(data):
            return


def sequence_size(unit: bytes) -> tuple[int, int]:
    """Return width and height of HEVC's sequence parameters (ITU-T H.265, 7.3.2.2)."""
    bits = Bits(unit.replace(b"\0\0\3", b"\0\0")[2:])  # without what only separates units
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.number()
    if bits.number() == 3:
        bits.take(1)
    return bits.number(), bits.number()


class Bits:
    """Reads bits and Exp-Golomb numbers; a unit that ends too soon is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        self.left -= count
        if self.left < 0:
            raise ValueError("its HEVC header is cut")
        return (self.value >> self.left) & ((1 << count) - 1)

    def number(self) -> int:
        """Return the next Exp-Golomb number."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
