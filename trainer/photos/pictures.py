"""Images as files, and as a labelled grid."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.atomic import write_atomic

if TYPE_CHECKING:
    from PIL import Image, ImageFont

__all__ = ["Row", "labelled_grid", "png_bytes", "save_picture", "thumbnail"]

MARGIN_PX, GAP_PX = 12, 6
THUMBNAIL_PX = 256
NO_TEXT: Mapping[str, str] = {}
MAX_CELL_PX = 512
MAX_LABEL = 400  # characters; a prompt can be a book
BACKGROUND, INK = "#ffffff", "#222222"


def save_picture(path: Path, picture: Image.Image, text: Mapping[str, str] = NO_TEXT) -> None:
    """Write a PNG file completely or not at all.

    Args:
        text: entries that the file contains besides the image.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, png_bytes(picture, text))


def png_bytes(picture: Image.Image, text: Mapping[str, str] = NO_TEXT) -> bytes:
    """Return an image as a PNG file's contents, with these text entries."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, value in text.items():
        info.add_itxt(name, value.encode(errors="replace").decode())  # half a character
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def thumbnail(picture: Image.Image) -> bytes:
    """Return a small copy of an RGB image as a JPEG file's contents."""
    small = picture.copy()
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Row:
    """The images of one prompt, with its label."""

    label: str
    pictures: Sequence[Image.Image]


def labelled_grid(rows: Sequence[Row]) -> Image.Image:
    """Return an image of the rows, each below its label; all images must have the same size."""
    from PIL import Image, ImageDraw, ImageFont

    pictures = [[shrunk(picture) for picture in row.pictures] for row in rows]
    cell_width, cell_height = pictures[0][0].size
    columns = max(len(row) for row in pictures)
    width = 2 * MARGIN_PX + columns * cell_width + (columns - 1) * GAP_PX
    font = ImageFont.load_default(max(14, cell_height // 20))
    labels = [wrapped(row.label[:MAX_LABEL], width - 2 * MARGIN_PX, font) for row in rows]
    heights = [text_height(label, font) for label in labels]
    total = MARGIN_PX + sum(height + cell_height + 2 * MARGIN_PX for height in heights)
    sheet = Image.new("RGB", (width, total), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN_PX
    for label, height, row in zip(labels, heights, pictures, strict=True):
        draw.multiline_text((MARGIN_PX, top), label, fill=INK, font=font)
        top += height + GAP_PX
        for column, picture in enumerate(row):
            sheet.paste(picture, (MARGIN_PX + column * (cell_width + GAP_PX), top))
        top += cell_height + 2 * MARGIN_PX - GAP_PX
    return sheet


def shrunk(picture: Image.Image) -> Image.Image:
    """Return a copy whose longer side is at most MAX_CELL_PX."""
    copy = picture.copy()
    copy.thumbnail((MAX_CELL_PX, MAX_CELL_PX))
    return copy


def wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Break a text into lines that fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def text_height(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    from PIL import Image, ImageDraw

    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return round(draw.multiline_textbbox((0, 0), text, font=font)[3])
