"""Two-color patterns: the share of the second color at each point of the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from .shapes import Plane

__all__ = ["Texture"]

DOT_RADIUS = 0.31  # in pattern widths
WAVE_HEIGHT = 0.22


@dataclass(frozen=True)
class Texture:
    """A pattern and its placement on the object.

    Args:
        name: one of `TEXTURES` except "plain".
        phase: shift along both axes, in pattern widths.
        width: length of one repetition, in object units.
        angle: rotation in radians.
    """

    name: str
    phase: float
    width: float
    angle: float

    def pattern(self, u: Plane, v: Plane, unit_px: float) -> Plane:
        """Return the share of the second color, 0 to 1.

        Args:
            unit_px: length of an object unit in pixels, for smooth edges.
        """
        c, s = cos(self.angle) / self.width, sin(self.angle) / self.width
        across = c * u + s * v + np.float32(self.phase)
        along = c * v - s * u + np.float32(self.phase)
        return PATTERNS[self.name](across, along, self.width * unit_px)


def striped(across: Plane, along: Plane, width_px: float) -> Plane:
    return np.clip(0.5 + tide(across) * width_px / 2, 0, 1)


def dotted(across: Plane, along: Plane, width_px: float) -> Plane:
    """Return dots in rows; every other row is shifted by half a width."""
    row = np.floor(along)
    p = across + (row % 2) * 0.5
    p, q = p - np.floor(p) - 0.5, along - row - 0.5
    return np.clip(0.5 + (DOT_RADIUS - np.hypot(p, q)) * width_px, 0, 1)


def checked(across: Plane, along: Plane, width_px: float) -> Plane:
    sharp = width_px / 2
    first = np.clip(tide(across) * sharp, -0.5, 0.5)
    return 0.5 + 2 * first * np.clip(tide(along) * sharp, -0.5, 0.5)


def wavy(across: Plane, along: Plane, width_px: float) -> Plane:
    wave = np.sin(along * np.float32(2 * pi * 0.75)) * np.float32(WAVE_HEIGHT)
    return striped(across + wave, along, width_px)


def tide(x: Plane) -> Plane:
    """Return a triangle wave with period 1 between -0.5 and 0.5."""
    return 2 * np.abs(x - np.floor(x) - 0.5) - 0.5


PATTERNS: Mapping[str, Callable[[Plane, Plane, float], Plane]] = {
    "striped": striped,
    "dotted": dotted,
    "checked": checked,
    "wavy": wavy,
}
