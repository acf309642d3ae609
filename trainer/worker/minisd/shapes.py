"""Shapes as signed distances: negative inside, in the units of the plane they are drawn on.

Distances are float32 arrays of the same shape as the coordinates, (h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Plane",
    "Point",
    "Shape",
    "box",
    "circle",
    "ellipse",
    "limb",
    "polygon",
    "ring",
    "union",
    "within",
]

Plane = NDArray[np.floating]  # (h, w), float32; to the type stubs, float32 times 2.0 is a float64
Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A signed distance, and a box that contains the shape.

    Args:
        low: the box's lower corner.
        high: the box's upper corner.
    """

    distance: Callable[[Plane, Plane], Plane]
    low: Point
    high: Point


def ellipse(centre: Point, radii: Point, angle: float = 0.0) -> Shape:
    """Return an ellipse, rotated by an angle (radians, from the first axis to the second)."""
    c, s = cos(angle), sin(angle)
    (x, y), (a, b) = centre, radii

    def distance(u: Plane, v: Plane) -> Plane:
        p, q = u - x, v - y
        first, second = (c * p + s * q) / a, (c * q - s * p) / b
        near = np.sqrt(first * first + second * second)
        slope = np.sqrt((first / a) ** 2 + (second / b) ** 2)
        return near * (near - 1) / np.maximum(slope, 1e-4)

    wide, high = np.hypot(a * c, b * s), np.hypot(a * s, b * c)
    return Shape(distance, (x - wide, y - high), (x + wide, y + high))


def circle(centre: Point, radius: float) -> Shape:
    """Return a circle."""
    (x, y), r = centre, radius

    def distance(u: Plane, v: Plane) -> Plane:
        return np.hypot(u - x, v - y) - r

    return Shape(distance, (x - r, y - r), (x + r, y + r))


def limb(start: Point, end: Point, radii: Point | float) -> Shape:
    """Return a line with round ends, whose thickness changes from one radius to another."""
    (x, y), (x2, y2) = start, end
    first, last = radii if isinstance(radii, tuple) else (radii, radii)
    du, dv = x2 - x, y2 - y
    length2 = max(du * du + dv * dv, 1e-9)

    def distance(u: Plane, v: Plane) -> Plane:
        p, q = u - x, v - y
        along = np.clip((p * du + q * dv) / length2, 0, 1)
        return np.hypot(p - along * du, q - along * dv) - (first + (last - first) * along)

    r = max(first, last)
    return Shape(distance, (min(x, x2) - r, min(y, y2) - r), (max(x, x2) + r, max(y, y2) + r))


def box(centre: Point, half: Point, radius: float = 0.0, angle: float = 0.0) -> Shape:
    """Return a rectangle of half size `half` with round corners, rotated by radians."""
    c, s = cos(angle), sin(angle)
    (x, y), (a, b) = centre, half
    radius = min(radius, a, b)

    def distance(u: Plane, v: Plane) -> Plane:
        p, q = u - x, v - y
        if angle:
            p, q = c * p + s * q, c * q - s * p
        right, up = np.abs(p) - (a - radius), np.abs(q) - (b - radius)
        outside = np.hypot(np.maximum(right, 0), np.maximum(up, 0))
        return outside + np.minimum(np.maximum(right, up), 0) - radius

    wide, high = abs(a * c) + abs(b * s), abs(a * s) + abs(b * c)
    return Shape(distance, (x - wide, y - high), (x + wide, y + high))


def polygon(points: Sequence[Point], radius: float = 0.0) -> Shape:
    """Return a polygon grown by a radius, which rounds its corners; in either orientation."""
    corners = np.asarray(points, np.float32)
    edges = np.roll(corners, -1, 0) - corners
    low, high = corners.min(0) - radius, corners.max(0) + radius

    def distance(u: Plane, v: Plane) -> Plane:
        nearest = np.full(u.shape, np.inf, np.float32)
        inside = np.zeros(u.shape, bool)
        for (x, y), (du, dv) in zip(corners, edges, strict=True):
            p, q = u - x, v - y
            along = np.clip((p * du + q * dv) / max(du * du + dv * dv, np.float32(1e-9)), 0, 1)
            nearest = np.minimum(nearest, (p - along * du) ** 2 + (q - along * dv) ** 2)
            if dv:
                inside ^= ((q >= 0) != (q >= dv)) & (p < q * (du / dv))
        return np.where(inside, -1, 1).astype(np.float32) * np.sqrt(nearest) - radius

    return Shape(distance, (float(low[0]), float(low[1])), (float(high[0]), float(high[1])))


def ring(centre: Point, radii: Point, thickness: float) -> Shape:
    """Return the outline of an ellipse, `thickness` to either side."""
    inner = ellipse(centre, radii)
    (x, y), (a, b) = centre, radii

    def distance(u: Plane, v: Plane) -> Plane:
        return np.abs(inner.distance(u, v)) - thickness

    return Shape(
        distance,
        (x - a - thickness, y - b - thickness),
        (x + a + thickness, y + b + thickness),
    )


def union(*shapes: Shape, softness: float = 0.0) -> Shape:
    """Return several shapes as one, with seams smoothed over a distance."""

    def distance(u: Plane, v: Plane) -> Plane:
        result = shapes[0].distance(u, v)
        for shape in shapes[1:]:
            other = shape.distance(u, v)
            nearer = np.minimum(result, other)
            if softness:
                overlap = np.maximum(softness - np.abs(result - other), 0) / softness
                nearer = nearer - overlap * overlap * softness / 4
            result = nearer
        return result

    return Shape(
        distance,
        (min(s.low[0] for s in shapes), min(s.low[1] for s in shapes)),
        (max(s.high[0] for s in shapes), max(s.high[1] for s in shapes)),
    )


def within(shape: Shape, frame: Shape) -> Shape:
    """Return the part of a shape that is inside another."""

    def distance(u: Plane, v: Plane) -> Plane:
        return np.maximum(shape.distance(u, v), frame.distance(u, v))

    return Shape(
        distance,
        (max(shape.low[0], frame.low[0]), max(shape.low[1], frame.low[1])),
        (min(shape.high[0], frame.high[0]), min(shape.high[1], frame.high[1])),
    )
