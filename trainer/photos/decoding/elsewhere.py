"""Decodes one photo for a host: writes its upright sRGB pixels to standard output as PNG."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...errors import ConfigError
from .decode import decode_photo
from .heif import REFUSED

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Write the photo that is named; return REFUSED, with message and hint, if it is not read."""
    try:
        image = decode_photo(Path(arguments[0]), here=True)
    except ConfigError as error:
        sys.stderr.buffer.write(f"{error.message}\n{error.hint}\n".encode())
        return REFUSED
    image.save(sys.stdout.buffer, "PNG", compress_level=1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
