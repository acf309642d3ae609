"""What the drawings of classes use: a canvas, the look's fills, and common parts.

An object's plane: the first axis points to its front, the second up, both from -1 to 1; it stands
on -1.
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

__all__ = ["GLASS", "INK", "WHITE", "Anchors", "Art", "mixed"]

INK = Fill((0.09, 0.08, 0.10), depth=0.3, line=0)
WHITE = Fill((0.99, 0.99, 0.98), depth=0, line=0.25)
GLASS = Fill((0.68, 0.87, 0.95), depth=0.8, line=0.5)


@dataclass(frozen=True)
class Anchors:
    """Where odd parts go, and where the object touches the ground.

    Args:
        badge: center and radius of the place for a badge.
        top: where something can stick out.
        foot: half width of the contact shadow.
        lift: height above the ground.
    """

    badge: tuple[float, float, float]
    top: Point
    foot: float = 0.75
    lift: float = 0.0


@dataclass(frozen=True)
class Art:
    """A drawing in progress."""

    canvas: Canvas
    look: Look

    def paint(self, fill: Fill, *shapes: Shape) -> None:
        """Paint shapes one over the other."""
        for shape in shapes:
            self.canvas.paint(shape, fill)

    def trait(self, place: int, low: float, high: float) -> float:
        """Return a proportion of the look, between two values."""
        return low + (high - low) * (self.look.shape[place] + 1) / 2

    @cached_property
    def main(self) -> Fill:
        """Return the main color with the texture."""
        return Fill(self.look.colour, self.look.second_colour, self.look.pattern)

    @cached_property
    def bare(self) -> Fill:
        """Return the main color without the texture."""
        return Fill(self.look.colour)

    @cached_property
    def trim(self) -> Fill:
        """Return the second color."""
        return Fill(self.look.second_colour)

    def eyes(self, centres: Sequence[Point], radius: float) -> None:
        """Draw round dark eyes with a light rim and a glint."""
        glint = 0.36 * radius
        for x, y in centres:
            self.paint(WHITE, ellipse((x, y), (radius * 1.22, radius * 1.30)))
            self.paint(INK, ellipse((x + 0.15 * radius, y), (radius * 0.95, radius * 1.05)))
            self.paint(WHITE, circle((x + 0.45 * radius, y + 0.42 * radius), glint))


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """Return a color between two, with `share` of the second."""
    red, green, blue = np.add(np.multiply(first, 1 - share), np.multiply(second, share))
    return float(red), float(green), float(blue)
