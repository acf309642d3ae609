"""A canvas for shapes: anti-aliased by distance, shaded, with an alpha channel.

Planes are (h, w), colors (3, h, w) with premultiplied alpha; values are float32 from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from .names import RGB
from .shapes import Plane, Point, Shape
from .textures import Texture

__all__ = ["Canvas", "Fill", "Pose"]

EDGE_PX = 1.7  # width of an object's dark edge at 128 px
SHADE = 0.46  # how much darker a part is on the side away from the light
SHINE = 0.30  # how much whiter a part is on the lit side


@dataclass(frozen=True)
class Fill:
    """What a shape is painted with.

    Args:
        second: the texture's second color.
        depth: how round it looks, 0 (flat) to 1.
        line: how dark its edge is, 0 to 1.
        opacity: 0 (nothing) to 1.
    """

    colour: RGB
    second: RGB = (1.0, 1.0, 1.0)
    texture: Texture | None = None
    depth: float = 1.0
    line: float = 0.45
    opacity: float = 1.0


@dataclass(frozen=True)
class Pose:
    """Where the drawing plane is on the canvas.

    Args:
        origin: the plane's origin, in canvas widths from the upper left corner.
        unit: the length of the plane's unit, in canvas widths.
        angle: clockwise rotation in radians.
        mirror: 1, or -1 to swap left and right.
        upwards: whether the second axis points up.
    """

    origin: Point = (0.0, 0.0)
    unit: float = 1.0
    angle: float = 0.0
    mirror: int = 1
    upwards: bool = False

    def matrix(self, side: int) -> NDArray[np.float32]:
        """Return the matrix from vectors on the plane to vectors in pixels, (2, 2)."""
        c, s = cos(self.angle), sin(self.angle)
        turn = np.array(((c, -s), (s, c))) * (side * self.unit)
        return (turn @ np.diag((self.mirror, -1 if self.upwards else 1))).astype(np.float32)


class Canvas:
    """A transparent square canvas, painted on in the coordinates of a pose."""

    def __init__(self, side: int, pose: Pose, light: Point = (-0.6, -0.8)) -> None:
        """Start with an empty canvas.

        Args:
            light: direction that the light comes from, x to the right and y down, length 1.
        """
        self.side = side
        self.rgb = np.zeros((3, side, side), np.float32)
        self.alpha = np.zeros((side, side), np.float32)
        self.unit_px = side * pose.unit
        self._matrix = pose.matrix(side)
        self._inverse = np.linalg.inv(self._matrix)
        self._origin = np.asarray(pose.origin, np.float32) * side
        self._light = self._matrix.T @ np.asarray(light, np.float32) / self.unit_px

    def paint(self, shape: Shape, fill: Fill) -> None:
        """Paint a filled shape over what is there."""
        window = self._window(shape)
        if window is None:
            return
        u, v = self._plane(window)
        distance = shape.distance(u, v) * np.float32(self.unit_px)  # (h, w) in pixels
        cover = np.clip(0.5 - distance, 0, 1) * np.float32(fill.opacity)
        colour = self._colour(fill, u, v)
        if fill.line:
            rim = max(EDGE_PX * self.side / 128, 1.0)
            edge = np.clip(1 + distance / np.float32(rim), 0, 1)
            colour = colour * (1 - np.float32(fill.line) * edge)
        if fill.depth:
            colour = self._shaded(colour, shape, u, v, fill.depth)
        self._lay(window, cover, colour)

    def _window(self, shape: Shape) -> tuple[slice, slice] | None:
        """Return the rows and columns of the pixels that the shape may touch."""
        (x, y), (x2, y2) = shape.low, shape.high
        corners = np.array(((x, y), (x, y2), (x2, y), (x2, y2)), np.float32)
        pixels = corners @ self._matrix.T + self._origin
        left, top = np.maximum(np.floor(pixels.min(0)) - 1, 0).astype(int)
        right, bottom = np.minimum(np.ceil(pixels.max(0)) + 1, self.side).astype(int)
        if left >= right or top >= bottom:
            return None
        return slice(top, bottom), slice(left, right)

    def _plane(self, window: tuple[slice, slice]) -> tuple[Plane, Plane]:
        """Return the pixel centers' coordinates on the drawing plane."""
        rows, columns = window
        x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - self._origin[0]
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5 - self._origin[1]
        (a, b), (c, d) = self._inverse
        return a * x + b * y, c * x + d * y

    def _colour(self, fill: Fill, u: Plane, v: Plane) -> Plane:
        """Return the color of a plain fill, (3, 1, 1), or of a texture, (3, h, w)."""
        first = np.asarray(fill.colour, np.float32)[:, None, None]
        if fill.texture is None:
            return first
        second = np.asarray(fill.second, np.float32)[:, None, None]
        return first + (second - first) * fill.texture.pattern(u, v, self.unit_px)

    def _shaded(self, colour: Plane, shape: Shape, u: Plane, v: Plane, depth: float) -> Plane:
        """Return the color of a bulging part: bright where it faces the light."""
        (x, y), (x2, y2) = shape.low, shape.high
        p = (u - (x + x2) / 2) * np.float32(2 / (x2 - x))
        q = (v - (y + y2) / 2) * np.float32(2 / (y2 - y))
        facing = np.clip(p * self._light[0] + q * self._light[1], -1, 1) * np.float32(depth)
        shine = np.maximum(facing - 0.05, 0) * SHINE
        shade = np.maximum(0.05 - facing, 0) * SHADE
        return colour * (1 - shade - shine) + shine

    def _lay(self, window: tuple[slice, slice], cover: Plane, colour: Plane) -> None:
        rgb, alpha = self.rgb[(slice(None), *window)], self.alpha[window]
        rgb += cover * (colour - rgb)
        alpha += cover * (1 - alpha)
