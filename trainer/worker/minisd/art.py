"""What a class's drawing works with: a canvas, the look's fills, and parts many classes share.

The plane of an object: first axis to the front, second up, both from -1 to 1; it stands on -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .canvas import Canvas, Fill
from .names import RGB
from .scene import Look
from .shapes import Point, Shape, circle, ellipse

INK = Fill((0.09, 0.08, 0.10), depth=0.3, line=0)
WHITE = Fill((0.99, 0.99, 0.98), depth=0, line=0.25)
GLASS = Fill((0.68, 0.87, 0.95), depth=0.8, line=0.5)


@dataclass(frozen=True)
class Anchors:
    """Where odd parts go, and what touches the ground.

    Args:
        badge: middle of the place for a badge, and its radius.
        top: where something can stick up.
        foot: half width of the contact shadow.
        lift: height above the ground.
    """

    badge: tuple[float, float, float]
    top: Point
    foot: float = 0.75
    lift: float = 0.0


@dataclass(frozen=True)
class Art:
    """A drawing under way."""

    canvas: Canvas
    look: Look

    def paint(self, fill: Fill, *shapes: Shape) -> None:
        for shape in shapes:
            self.canvas.paint(shape, fill)

    def trait(self, place: int, low: float, high: float) -> float:
        """A proportion between two values."""
        return low + (high - low) * (self.look.shape[place] + 1) / 2

    @cached_property
    def main(self) -> Fill:
        """The main colour with the texture."""
        return Fill(self.look.colour, self.look.second_colour, self.look.pattern)

    @cached_property
    def bare(self) -> Fill:
        """The main colour without the texture."""
        return Fill(self.look.colour)

    @cached_property
    def trim(self) -> Fill:
        """The second colour."""
        return Fill(self.look.second_colour)

    def eyes(self, centres: Sequence[Point], radius: float) -> None:
        """Round dark eyes with a light rim and a glint."""
        glint = 0.36 * radius
        for x, y in centres:
            self.paint(WHITE, ellipse((x, y), (radius * 1.22, radius * 1.30)))
            self.paint(INK, ellipse((x + 0.15 * radius, y), (radius * 0.95, radius * 1.05)))
            self.paint(WHITE, circle((x + 0.45 * radius, y + 0.42 * radius), glint))


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """A colour between two; `share` of the second."""
    red, green, blue = np.add(np.multiply(first, 1 - share), np.multiply(second, share))
    return float(red), float(green), float(blue)
