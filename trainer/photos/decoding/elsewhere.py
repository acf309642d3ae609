"""Decodes one photo for a host: from standard input to upright sRGB pixels, as PNG."""

from __future__ import annotations

import sys
from pathlib import Path

from ...errors import ConfigError
from .decode import decode_stream
from .heif import NAMELESS, REFUSED

__all__ = ["main"]


def main() -> int:
    """Decode the photo on standard input; return REFUSED, with message and hint, if refused."""
    try:
        image = decode_stream(sys.stdin.buffer, Path(NAMELESS), here=True)
    except ConfigError as error:
        sys.stderr.buffer.write(f"{error.message}\n{error.hint}\n".encode())
        return REFUSED
    image.save(sys.stdout.buffer, "PNG", compress_level=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
