"""The elements of backgrounds: gradients, hills, clouds, trees.

Coordinates: x to the right and y down, both from 0 to 1 over the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Fill
from .names import RGB
from .shapes import Point, Shape, box, circle, ellipse, polygon, union

__all__ = ["Scenery"]


@dataclass(frozen=True)
class Scenery:
    """A background in progress, with its own random generator."""

    canvas: Canvas
    rng: np.random.Generator

    def paint(self, colour: RGB, *shapes: Shape, opacity: float = 1.0, depth: float = 0.0) -> None:
        """Paint shapes without an edge."""
        fill = Fill(colour, depth=depth, line=0, opacity=opacity)
        for shape in shapes:
            self.canvas.paint(shape, fill)

    def vary(self, colour: RGB, spread: float = 0.03) -> RGB:
        """Return a slightly different color."""
        shift = self.rng.uniform(-spread, spread) + self.rng.uniform(-spread, spread, 3) / 2
        red, green, blue = np.clip(np.asarray(colour) + shift, 0, 1)
        return float(red), float(green), float(blue)

    def between(self, low: float, high: float) -> float:
        """Return a random number in a range."""
        return float(self.rng.uniform(low, high))

    def gradient(self, upper: RGB, lower: RGB, top: float = 0.0, bottom: float = 1.0) -> None:
        """Paint a gradient from top to bottom, and the lower color below it."""
        side = self.canvas.side
        first, last = round(top * side), round(bottom * side)
        share = np.linspace(0, 1, max(last - first, 1), dtype=np.float32)[None, :, None]
        start, end = (np.asarray(self.vary(c), np.float32)[:, None, None] for c in (upper, lower))
        self.canvas.rgb[:, first:last] = start + (end - start) * share
        self.canvas.rgb[:, last:] = end
        self.canvas.alpha[first:] = 1

    def hills(self, colour: RGB, level: float, height: float, count: int = 3) -> None:
        """Paint round hills that rise above a level."""
        for place in range(count):
            x = (place + self.between(0.1, 0.9)) / count
            radii = (self.between(0.28, 0.42), height * self.between(0.7, 1.1))
            self.paint(self.vary(colour, 0.015), ellipse((x, level), radii))

    def clouds(self, colour: RGB, count: int, opacity: float = 0.9) -> None:
        """Paint clouds in the upper part."""
        for place in range(count):
            x, y = (place + self.between(0.1, 0.9)) / count, self.between(0.06, 0.26)
            size = self.between(0.05, 0.085)
            puffs = [
                ellipse((x - size, y), (size, size * 0.55)),
                ellipse((x + size, y + 0.005), (size, size * 0.5)),
                circle((x, y - size * 0.35), size * 0.75),
            ]
            self.paint(colour, union(*puffs), opacity=opacity)

    def tree(self, x: float, base: float, height: float, colour: RGB) -> None:
        """Paint a round tree."""
        trunk, crown = height * 0.07, height * 0.30
        self.paint((0.42, 0.30, 0.22), box((x, base - height * 0.25), (trunk, height * 0.25)))
        top = base - height * 0.68
        puffs = union(
            circle((x, top), crown),
            circle((x - crown * 0.7, top + crown * 0.5), crown * 0.7),
            circle((x + crown * 0.7, top + crown * 0.5), crown * 0.7),
        )
        self.paint(colour, puffs, depth=0.5)

    def fir(
        self, x: float, base: float, height: float, colour: RGB, tip: RGB | None = None
    ) -> None:
        """Paint a fir of three tiers, with tips of another color if there is snow."""
        self.paint((0.36, 0.26, 0.20), box((x, base - 0.03), (height * 0.05, 0.04)))
        for tier in range(3):
            low = base - height * (0.10 + 0.26 * tier)
            wide, tall = height * (0.26 - 0.055 * tier), height * 0.40
            self.paint(colour, polygon(((x - wide, low), (x, low - tall), (x + wide, low))))
            if tip is not None:
                half = (
                    (x - wide * 0.5, low - tall / 2),
                    (x, low - tall),
                    (x + wide / 2, low - tall / 2),
                )
                self.paint(tip, polygon(half))

    def sun(self, centre: Point, radius: float, colour: RGB) -> None:
        """Paint a disc with a soft halo."""
        for grown, opacity in ((2.0, 0.15), (1.45, 0.25), (1.0, 1.0)):
            self.paint(colour, circle(centre, radius * grown), opacity=opacity)

    def stars(self, count: int, bottom: float) -> None:
        """Paint stars above a level."""
        for _ in range(count):
            centre = (self.between(0.02, 0.98), self.between(0.02, bottom))
            self.paint((1.0, 0.97, 0.85), circle(centre, self.between(0.007, 0.014)))

    def scatter(self, count: int, top: float, bottom: float) -> Sequence[Point]:
        """Return points spread over a band, one in each column."""
        return [
            ((place + self.between(0.15, 0.85)) / count, self.between(top, bottom))
            for place in range(count)
        ]
