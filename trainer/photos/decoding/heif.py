"""HEIC and AVIF, as phones and cameras save them: read in the trainer's environment."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from ...environment.environment import missing, worker_command, worker_env
from ...errors import ConfigError
from .boxes import coded_size, nclx
from .color import Meaning, coded_space, exif_meaning, is_deep_light
from .picture import (
    Picture,
    check_bounds,
    exif_from,
    exif_of,
    orientation_of,
    picture_of,
    pillow_file,
)  # fmt: skip

__all__ = ["NAMELESS", "REFUSED", "brand", "can_read", "read_avif", "read_elsewhere", "read_heic"]

PACKAGE = "pi_heif"
HEIC_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"MiHB", b"MiHE",
}  # fmt: skip
AVIF_BRANDS = {b"avif", b"avis"}
AS_JPEG = "Convert it to JPEG, or remove it."
MAX_SEC = 120  # the largest photos take less than a tenth of this
NAMELESS = "-"  # a photo on standard input, in its errors
REFUSED = 3  # the exit code of `elsewhere` for a message and a hint


def brand(stream: BinaryIO) -> str:
    """Return HEIC or AVIF for such a file, and nothing for others."""
    head = stream.read(64)
    stream.seek(0)
    if head[4:8] != b"ftyp":
        return ""
    length = min(int.from_bytes(head[:4], "big"), 64)
    brands = [head[place : place + 4] for place in (8, *range(16, length, 4))]
    if brands[0] in AVIF_BRANDS or (brands[0] in (b"mif1", b"msf1") and AVIF_BRANDS & {*brands}):
        return "AVIF"
    return "HEIC" if brands[0] in HEIC_BRANDS else ""


def can_read(kind: str) -> bool:
    """Return whether this Python has the package for a kind; a host's often has not."""
    try:
        if kind == "AVIF":
            return bool(import_module("PIL.AvifImagePlugin").SUPPORTED)
        import_module(PACKAGE)
    except ImportError:
        return False
    return True


def read_heic(stream: BinaryIO, file_bytes: int) -> Picture:
    """Decode a HEIC photo, already upright; with all its bits where it is HDR."""
    content = stream.read()
    check_bounds(coded_size(content), file_bytes)
    open_heif: Any = import_module(PACKAGE).open_heif
    image = open_heif(content, convert_hdr_to_8bit=False)
    check_bounds(image.size, file_bytes)
    meaning = heif_meaning(content, image.info)
    if not is_deep_light(meaning.space):
        image = open_heif(content, convert_hdr_to_8bit=True)
        return picture_of(image.to_pillow(), meaning)
    return deep_picture(image, meaning)


def deep_picture(image: Any, meaning: Meaning) -> Picture:
    import numpy as np
    from PIL import Image as pillow

    values = np.asarray(image)
    if values.dtype == np.uint8:
        values = values.astype(np.uint16) * 257
    values = values.reshape(*values.shape[:2], -1)[:, : image.size[0]]
    if values.shape[2] in (1, 3):
        return Picture(values, meaning=meaning)
    alpha = pillow.fromarray((values[..., -1] >> 8).astype(np.uint8))
    return Picture(values[..., :-1], alpha, meaning=meaning)


def read_avif(stream: BinaryIO, file_bytes: int) -> Picture:
    """Decode an AVIF photo; Pillow reads eight bits of it."""
    content = stream.read()
    check_bounds(coded_size(content), file_bytes)
    image = pillow_file("AvifImagePlugin", "AvifImageFile", BytesIO(content))
    check_bounds(image.size, file_bytes)
    return picture_of(image, heif_meaning(content, image.info), orientation_of(exif_of(image)))


def heif_meaning(content: bytes, info: dict[str, Any]) -> Meaning:
    """Return the colors by profile, else by code points, else by EXIF."""
    profile, code = info.get("icc_profile"), info.get("nclx_profile")
    if profile:
        return Meaning(profile)
    codes = nclx(content) or (2, 2)
    if code:
        codes = int(code["color_primaries"]), int(code["transfer_characteristics"])
    if codes == (2, 2):  # unspecified
        return exif_meaning(exif_from(info.get("exif") or b""), None)
    return Meaning(space=coded_space(*codes))


def read_elsewhere(path: Path, kind: str) -> Picture:
    """Let the trainer's environment decode a photo, and return its upright sRGB pixels.

    Raises:
        ConfigError: the environment is not installed, or it cannot read the photo.
    """
    if problem := missing():
        hint = f"Convert it to JPEG, or let the trainer read it: {problem}"
        raise ConfigError(f"Photo {path} is {kind}.", hint)
    try:
        with path.open("rb") as photo:
            done = subprocess.run(
                worker_command("trainer.photos.decoding.elsewhere"),
                env=worker_env(),
                stdin=photo,
                capture_output=True,
                timeout=MAX_SEC,
                creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
            )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"Photo {path} is not decoded in {MAX_SEC} s.", AS_JPEG) from None
    if done.returncode:
        raise failure(path, done)
    image = pillow_file("PngImagePlugin", "PngImageFile", BytesIO(done.stdout))
    return picture_of(image, Meaning())


def failure(path: Path, done: subprocess.CompletedProcess[bytes]) -> ConfigError:
    lines = done.stderr.decode("utf-8", "replace").splitlines() or ["no reason given"]
    if done.returncode == REFUSED and len(lines) >= 2:
        return ConfigError(lines[-2].replace(f"Photo {NAMELESS}", f"Photo {path}", 1), lines[-1])
    return ConfigError(f"Photo {path} cannot be read: {lines[-1]}.", AS_JPEG)
