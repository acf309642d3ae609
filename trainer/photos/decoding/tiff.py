"""TIFF: of its many kinds those that Pillow decodes correctly, and deep gray; others by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from .color import exif_meaning
from .picture import Picture, Refused, check_bounds, exif_of, picture_of, pillow_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_tiff"]

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 256, 257, 258, 259, 262, 277
PREDICTOR, SAMPLE_FORMAT = 317, 339
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLORS = {
    WHITE_IS_ZERO: "gray", BLACK_IS_ZERO: "gray", RGB: "RGB", PALETTE: "palette", CMYK: "CMYK",
    YCBCR: "YCbCr", LAB: "Lab",
}  # fmt: skip
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
BIG_VERSION = 43
FORMATS = {UNSIGNED: "", SIGNED: "signed ", FLOAT: "floating-point "}
# What Pillow turns into the right 8-bit pixels: color, bits and number of samples.
EIGHT_BITS = {
    *((color, bits, 1) for color in (WHITE_IS_ZERO, BLACK_IS_ZERO) for bits in (1, 2, 4, 8)),
    *((PALETTE, bits, 1) for bits in (1, 2, 4, 8)),
    (BLACK_IS_ZERO, 8, 2),
    *((RGB, bits, samples) for bits in (8, 16) for samples in (3, 4)),
    (RGB, 8, 5),
    *((CMYK, bits, 4) for bits in (8, 16)),
    (YCBCR, 8, 3),
    (LAB, 8, 3),
}
# Gray that Pillow returns unscaled: sample format and bits.
DEEP_GRAY = {(UNSIGNED, 12), (UNSIGNED, 16), (UNSIGNED, 32), (SIGNED, 32), (FLOAT, 32)}
PREDICTED = (5, 8, 32946, 34925, 50000)  # compressions that have predictors


def read_tiff(stream: BinaryIO, file_bytes: int) -> Picture:
    """Decode the first page; Pillow applies its orientation."""
    try:
        image = pillow_file("TiffImagePlugin", "TiffImageFile", stream)
    except SyntaxError as error:
        if str(error) != "unknown pixel mode":
            raise
        raise TiffKind(tags_of(stream)).refused() from None
    kind = TiffKind(image.tag_v2)
    check_bounds(image.size, file_bytes, kind.samples * max(1, kind.bits // 8))
    if kind.predictor != 1 and kind.compression not in PREDICTED:
        raise kind.refused()
    if kind.format == UNSIGNED and (kind.color, kind.bits, kind.samples) in EIGHT_BITS:
        return picture_of(image)
    if kind.color > BLACK_IS_ZERO or kind.samples > 1 or (kind.format, kind.bits) not in DEEP_GRAY:
        raise kind.refused()
    meaning = exif_meaning(exif_of(image), image.info.get("icc_profile"))
    image.load()
    return Picture(deep_gray(image, kind), meaning=meaning)


def tags_of(stream: BinaryIO) -> Any:
    """Return the tags of the first page, also where Pillow does not know what they describe."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stream.seek(0)
    head = stream.read(8)
    head += stream.read(8) if head[2] == BIG_VERSION or head[3] == BIG_VERSION else b""
    tags = ImageFileDirectory_v2(head)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


class TiffKind:
    """What a TIFF's tags say about its samples."""

    def __init__(self, tags: Any) -> None:
        def first(tag: int, default: int) -> int:
            value = tags.get(tag, default)
            return int(value[0] if isinstance(value, tuple) else value)

        self.color, self.bits = first(PHOTOMETRIC, WHITE_IS_ZERO), first(BITS, 1)
        self.samples, self.format = first(SAMPLES, 1), first(SAMPLE_FORMAT, UNSIGNED)
        self.compression, self.predictor = first(COMPRESSION, 1), first(PREDICTOR, 1)

    def refused(self) -> Refused:
        """Return the error that names this kind."""
        color = COLORS.get(self.color, f"kind {self.color}")
        kind = f"{self.samples} x {self.bits} bits of {FORMATS.get(self.format, '')}{color} samples"
        coding = f" with compression {self.compression}" if self.compression != 1 else ""
        return Refused(f"is a TIFF of {kind}{coding}, which is not read")


def deep_gray(image: Any, kind: TiffKind) -> NDArray[Any]:
    """Return gray as (H, W, 1) of uint16."""
    import numpy as np

    values = np.asarray(image)  # (H, W)
    if kind.format == UNSIGNED and kind.bits == 32:
        values = values.view(np.uint32)  # Pillow has only signed ones
    if kind.format == FLOAT:
        values = np.nan_to_num(values)
    white = white_of(float(values.max()), kind)
    strips = np.array_split(values, 64)  # the whole as float64 would be 2 GiB at 256 megapixels
    done = np.concatenate([sixteen_bits(strip, white) for strip in strips])
    return (65535 - done if kind.color == WHITE_IS_ZERO else done)[..., None]


def white_of(brightest: float, kind: TiffKind) -> float:
    """Return what is white: the largest value of few bits, else the first usual one that fits."""
    if kind.bits < 32:
        return 2.0**kind.bits - 1
    usual = (1.0, 255.0, 65535.0) if kind.format == FLOAT else (65535.0,)
    return next((white for white in usual if brightest <= white), brightest)


def sixteen_bits(values: NDArray[Any], white: float) -> NDArray[Any]:
    import numpy as np

    return np.rint(np.clip(values / white, 0, 1) * 65535).astype(np.uint16)
