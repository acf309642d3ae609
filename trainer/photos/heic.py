"""HEIC photos, as phones save them: read by a package in the trainer's environment."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..environment.environment import missing, worker_command, worker_env
from ..errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["open_heic"]

PACKAGE = "pi_heif"
AS_JPEG = "Convert it to JPEG, or remove it."


def open_heic(stream: BinaryIO, path: Path) -> Image:
    """Open a photo, already upright; without the package, the environment's Python reads it.

    Raises:
        ConfigError: the environment is not installed, or it cannot read the photo.
    """
    try:
        package = import_module(PACKAGE)
    except ImportError:
        return open_elsewhere(path)
    return package.HeifImageFile(stream)


def open_elsewhere(path: Path) -> Image:
    """Let the trainer's environment convert a photo to PNG."""
    from PIL import PngImagePlugin

    if problem := missing():
        hint = f"Convert it to JPEG, or let the trainer read it: {problem}"
        raise ConfigError(f"Photo {path} is HEIC.", hint)
    with path.open("rb") as photo:
        done = subprocess.run(
            worker_command("trainer.photos.heic"),
            env=worker_env(),
            stdin=photo,
            capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
        )
    if done.returncode:
        reason = (done.stderr.decode("utf-8", "replace").splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"Photo {path} cannot be read: {reason}", AS_JPEG)
    return PngImagePlugin.PngImageFile(BytesIO(done.stdout))


def main() -> None:
    """Write the photo on standard input to standard output as PNG, with its color profile."""
    image = import_module(PACKAGE).HeifImageFile(BytesIO(sys.stdin.buffer.read()))
    profile = image.info.get("icc_profile")
    image.save(sys.stdout.buffer, "PNG", icc_profile=profile, compress_level=1)


if __name__ == "__main__":
    main()
