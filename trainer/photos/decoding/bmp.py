"""BMP: Pillow decodes the pixels; its newer headers say more about color and transparency."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import BinaryIO, cast

from .color import Meaning, Primaries, Space, space_of
from .picture import Picture, check_bounds, picture_of, pillow_file

__all__ = ["read_bmp"]

FILE_HEADER_BYTES = 14
V4_BYTES, V5_BYTES = 108, 124
CALIBRATED, EMBEDDED = 0, 0x4D424544  # color space types
MAX_PROFILE_BYTES = 16 << 20


def read_bmp(stream: BinaryIO, file_bytes: int) -> Picture:
    """Decode a BMP. Alpha that is 0 everywhere was never written, and counts as opaque."""
    header = stream.read(FILE_HEADER_BYTES + V5_BYTES)[FILE_HEADER_BYTES:]
    meaning = bmp_meaning(header, stream)
    stream.seek(0)
    image = pillow_file("BmpImagePlugin", "BmpImageFile", stream)
    check_bounds(image.size, file_bytes, len(image.getbands()))
    picture = picture_of(image, meaning)
    unwritten = picture.alpha is not None and picture.alpha.getextrema() == (0, 0)
    return replace(picture, alpha=None) if unwritten else picture


def bmp_meaning(header: bytes, stream: BinaryIO) -> Meaning:
    """Return the embedded profile or the calibrated primaries of a newer header."""
    length = int.from_bytes(header[:4], "little")
    if length < V4_BYTES or len(header) < V4_BYTES:
        return Meaning()
    kind = int.from_bytes(header[56:60], "little")
    if kind == EMBEDDED and length >= V5_BYTES:
        start, size = struct.unpack("<II", header[112:120])
        stream.seek(FILE_HEADER_BYTES + start)
        return Meaning(stream.read(min(size, MAX_PROFILE_BYTES)))
    return Meaning(space=calibrated(header)) if kind == CALIBRATED else Meaning()


def calibrated(header: bytes) -> Space | None:
    """Return the space of CIE XYZ endpoints and a gamma; None where they were left at 0."""
    points = [value / 2**30 for value in struct.unpack("<9i", header[60:96])]
    gamma = struct.unpack("<I", header[96:100])[0] / 2**16
    edges = [points[:3], points[3:6], points[6:]]
    if not all(sum(edge) > 0 for edge in edges):
        return None
    edges.append([sum(edge[axis] for edge in edges) for axis in range(3)])
    xy = [part / sum(edge) for edge in edges for part in edge[:2]]
    return space_of(cast(Primaries, tuple(xy)), gamma or None)
