"""Colors: what a photo's numbers mean, wherever its format says so, and how they become sRGB."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = [
    "ADOBE_RGB", "SRGB", "Meaning", "Primaries", "Space", "UnknownColors", "coded_space",
    "exif_meaning", "is_deep_light", "space_of", "to_srgb",
]  # fmt: skip

Primaries = tuple[float, float, float, float, float, float, float, float]
D65 = (0.3127, 0.3290)
# Code points of ITU-T H.273, which PNG's cICP, HEIC and AVIF share: x and y of red, green, blue
# and white. 2 is "unspecified".
CODED_PRIMARIES: dict[int, Primaries] = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65),
    2: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *D65),
    4: (0.670, 0.330, 0.210, 0.710, 0.140, 0.080, 0.310, 0.316),
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, *D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65),
}
Transfer = float | Literal["srgb", "pq", "hlg"]  # a number is a gamma
# The curves of BT.709, 601 and 2020 are those of cameras; viewers show them like sRGB's.
CODED_TRANSFERS: dict[int, Transfer] = {
    1: "srgb", 2: "srgb", 4: 2.2, 5: 2.8, 6: "srgb", 8: 1.0, 13: "srgb", 14: "srgb", 15: "srgb",
    16: "pq", 17: 2.6, 18: "hlg",
}  # fmt: skip
WHITE_NITS = 203.0  # ITU-R BT.2408: what a white page has in HDR
HLG_PEAK_NITS = 1000.0
BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
KNEE = 0.75  # brighter light is compressed, the rest stays
COLOR_SPACE, INTEROPERABILITY, GAMMA = 0xA001, 0xA005, 0xA500  # tags in EXIF's own directory
EXIF_DIRECTORY, WHITE_POINT, CHROMATICITIES = 0x8769, 0x013E, 0x013F


class UnknownColors(ValueError):
    """The file names colors that are not read."""


@dataclass(frozen=True)
class Space:
    """An RGB color space: its primaries, and the curve from numbers to light."""

    primaries: Primaries
    transfer: Transfer


@dataclass(frozen=True)
class Meaning:
    """What is known of a photo's colors; an ICC profile that can be used comes first."""

    profile: bytes | None = None
    space: Space | None = None


SRGB = Space(CODED_PRIMARIES[1], "srgb")
ADOBE_RGB = Space((0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65), 563 / 256)


def coded_space(primaries: int, transfer: int) -> Space:
    """Return the space that two H.273 code points name.

    Raises:
        UnknownColors: no photo should use them, or they are not known.
    """
    if primaries not in CODED_PRIMARIES or transfer not in CODED_TRANSFERS:
        raise UnknownColors(f"color primaries {primaries} with transfer {transfer} are not read")
    return Space(CODED_PRIMARIES[primaries], CODED_TRANSFERS[transfer])


def space_of(primaries: Primaries | None, gamma: float | None) -> Space | None:
    """Return the space of measured values, where they are possible; None if it is sRGB.

    With sRGB's primaries, gamma 1/0.45 is how PNG's older chunk spells sRGB's own curve.
    """
    if gamma is not None and not 0.1 <= gamma <= 10:
        gamma = None
    if primaries is None or not possible(primaries):
        primaries = SRGB.primaries
    usual = gamma is None or abs(1 / gamma - 0.4545) < 0.005
    if is_srgb(Space(primaries, "srgb")) and usual:
        return None
    return Space(primaries, "srgb" if gamma is None else gamma)


def possible(primaries: Primaries) -> bool:
    import numpy as np

    try:
        matrix = to_xyz(primaries)
    except (ZeroDivisionError, np.linalg.LinAlgError):
        return False
    return bool(np.isfinite(matrix).all()) and abs(np.linalg.det(matrix)) > 1e-4


def is_srgb(space: Space) -> bool:
    pairs = zip(space.primaries, SRGB.primaries, strict=True)
    return space.transfer == "srgb" and all(abs(one - other) < 0.002 for one, other in pairs)


def is_deep_light(space: Space | None) -> bool:
    """Return whether eight bits are too few for a space's range of light."""
    return space is not None and space.transfer in ("pq", "hlg")


def exif_meaning(exif: Any, profile: bytes | None) -> Meaning:
    """Return what EXIF and a profile say: Adobe RGB by its DCF mark, or by its own numbers."""
    if profile:
        return Meaning(profile)
    try:
        inner = exif.get_ifd(EXIF_DIRECTORY)
        number, mark = inner.get(COLOR_SPACE), exif.get_ifd(INTEROPERABILITY).get(1, "")
        if number == 2 or (number != 1 and str(mark).strip("\0 ") == "R03"):
            return Meaning(space=ADOBE_RGB)
        if number == 1:
            return Meaning()
        edges, white = exif.get(CHROMATICITIES, ()), exif.get(WHITE_POINT, ())
        gamma = inner.get(GAMMA)
        values = tuple(map(float, (*edges, *white)))
        primaries = cast(Primaries, values) if len(values) == 8 else None
        return Meaning(space=space_of(primaries, None if gamma is None else float(gamma)))
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError):
        return Meaning()  # damaged EXIF says nothing


def to_srgb(pixels: Image | NDArray[Any], meaning: Meaning) -> Image:
    """Return 8-bit sRGB; a profile that cannot be used is ignored.

    Args:
        pixels: an image without alpha, or deep samples (H, W, 1 or 3) of uint16.
    """
    import numpy as np
    from PIL import Image as pillow

    space = meaning.space
    if meaning.profile and (found := by_profile(eight_bit_image(pixels), meaning.profile)):
        return found
    if space is None or is_srgb(space):
        return plain(eight_bit_image(pixels))
    if not isinstance(pixels, np.ndarray):
        pixels = np.asarray(pixels if pixels.mode == "RGB" else plain(pixels))
    height = max(1, 1_000_000 // pixels.shape[1])  # in strips, for little memory
    strips = range(0, len(pixels), height)
    done = [converted(pixels[top : top + height], space) for top in strips]
    return pillow.fromarray(np.concatenate(done))


def eight_bit_image(pixels: Image | NDArray[Any]) -> Image:
    import numpy as np
    from PIL import Image as pillow

    if not isinstance(pixels, np.ndarray):
        return pixels
    strips = np.array_split(pixels, 64)
    small = np.concatenate(
        [((strip.astype(np.uint32) + 128) // 257).astype(np.uint8) for strip in strips]
    )
    return pillow.fromarray(small[..., 0] if small.shape[2] == 1 else small)


def plain(image: Image) -> Image:
    """Return RGB pixels of an image without a profile."""
    from PIL import ImageCms

    if image.mode != "LAB":
        return image if image.mode == "RGB" else image.convert("RGB")
    source, target = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(source, target, "LAB", "RGB").apply(image)


def by_profile(image: Image, profile: bytes) -> Image | None:
    """Convert by an ICC profile; None if it is damaged or belongs to another kind of image."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(source, target, image.mode, "RGB").apply(image)
    except (ImageCms.PyCMSError, OSError):
        return None


def converted(pixels: NDArray[Any], space: Space) -> NDArray[Any]:
    """Convert samples (H, W, 1 or 3) to sRGB, (H, W, 3) of uint8."""
    import numpy as np

    top = np.iinfo(pixels.dtype).max
    table = light_of(np.arange(top + 1) / top, space.transfer).astype(np.float32)
    light = np.broadcast_to(table[pixels], (*pixels.shape[:2], 3))
    if space.transfer == "hlg":
        luminance = light @ to_xyz(space.primaries)[1].astype(np.float32)
        light = light * (luminance**0.2)[..., None] * np.float32(HLG_PEAK_NITS / WHITE_NITS)
    light = np.maximum(light @ to_srgb_light(space.primaries).T, 0)
    if is_deep_light(space):
        light = compressed(light)
    light = np.minimum(light, 1)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


def light_of(values: NDArray[Any], transfer: Transfer) -> NDArray[Any]:
    """Return the light of numbers from 0 to 1; 1 is white. HLG's is the scene's, not a screen's."""
    import numpy as np

    if transfer == "srgb":
        return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if transfer == "pq":  # SMPTE ST 2084
        root = values ** (32 / 2523)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        return light ** (8192 / 1305) * 10_000 / WHITE_NITS
    if transfer == "hlg":  # ITU-R BT.2100
        bright = (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return np.where(values <= 0.5, values**2 / 3, bright)
    return values**transfer


def compressed(light: NDArray[Any]) -> NDArray[Any]:
    """Fit light of any strength below white; its hue and what is below the knee stay."""
    import numpy as np

    peak = light.max(axis=2, keepdims=True)
    span = 1 - KNEE
    bent = KNEE + span * (1 - np.exp(-(np.maximum(peak, KNEE) - KNEE) / span))
    return np.where(peak > KNEE, light * (bent / np.maximum(peak, KNEE)), light)


@cache
def to_srgb_light(primaries: Primaries) -> NDArray[Any]:
    """Return the matrix from a space's light to sRGB's, white to white (Bradford's adaptation)."""
    import numpy as np

    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    whites = [cone @ to_xyz(each).sum(axis=1) for each in (primaries, SRGB.primaries)]
    adapted = np.linalg.inv(cone) @ np.diag(whites[1] / whites[0]) @ cone
    matrix = np.linalg.inv(to_xyz(SRGB.primaries)) @ adapted @ to_xyz(primaries)
    return matrix.astype(np.float32)


def to_xyz(primaries: Primaries) -> NDArray[Any]:
    """Return the matrix from a space's light to CIE XYZ."""
    import numpy as np

    pairs = zip(primaries[::2], primaries[1::2], strict=True)
    *edges, white = ((x / y, 1, (1 - x - y) / y) for x, y in pairs)
    columns = np.array(edges).T
    return columns * np.linalg.solve(columns, np.array(white))
