"""Converts decoded images of any mode to 8-bit sRGB."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["to_rgb"]


def to_rgb(image: Image) -> Image:
    """Convert any mode to 8-bit sRGB, with alpha only if some pixel is transparent."""
    if image.mode.startswith(("I", "F")):
        image = to_eight_bits(image)
    elif image.mode == "P":
        image = image.convert("RGBA")
    alpha = None
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    image = to_srgb(image)
    image.info = {}  # a palette's transparency or profile must not reach a saved crop
    if alpha is not None and alpha.getextrema() != (255, 255):
        image.putalpha(alpha)
    return image


def to_eight_bits(image: Image) -> Image:
    """Scale deep gray. White is 65535; for floats 1 or 255 if all fit, else the brightest."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)  # (H, W)
    if image.mode == "F":
        values = np.nan_to_num(values)
    brightest = float(values.max())
    whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    white = next((white for white in whites if brightest <= white), brightest)
    strips = np.array_split(values, 64)  # the whole as float64 would be 2 GiB at 256 megapixels
    gray = Image.fromarray(np.concatenate([eight_bits(strip, white) for strip in strips]))
    if "transparency" in image.info:  # a 16-bit PNG's one transparent shade
        opaque = values != image.info["transparency"]
        gray.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    gray.info["icc_profile"] = image.info.get("icc_profile")
    return gray


def eight_bits(values: NDArray[Any], white: float) -> NDArray[Any]:
    import numpy as np

    return np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)


def to_srgb(image: Image) -> Image:
    """Convert to RGB by the embedded profile, which is ignored if it cannot be used."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if image.mode not in ("L", "CMYK"):
        image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
    return transform.apply(image)
