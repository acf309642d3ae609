"""Backgrounds indoors, at night, in bad weather, under water and in space."""

from __future__ import annotations

from .scenery import Scenery
from .shapes import box, circle, ellipse, limb, polygon, ring, within

__all__ = ["kitchen", "night", "rain", "room", "space", "sunset", "underwater"]


def night(s: Scenery) -> None:
    """Paint a night sky over hills."""
    level = s.between(0.62, 0.68)
    s.gradient((0.06, 0.09, 0.24), (0.20, 0.26, 0.48), 0, level + 0.04)
    s.stars(16, level - 0.12)
    centre = (s.between(0.12, 0.88), s.between(0.12, 0.2))
    s.sun(centre, 0.075, (0.97, 0.94, 0.78))
    s.paint((0.88, 0.84, 0.68), circle((centre[0] + 0.025, centre[1] - 0.015), 0.016))
    s.hills((0.10, 0.16, 0.30), level + 0.04, 0.12)
    s.gradient((0.16, 0.24, 0.32), (0.09, 0.15, 0.22), level + 0.03, 1)
    for x, base in s.scatter(2, level + 0.05, level + 0.08):
        s.fir(x * 1.3 - 0.15, base, s.between(0.20, 0.28), (0.07, 0.14, 0.22))


def sunset(s: Scenery) -> None:
    """Paint a sunset."""
    level = s.between(0.56, 0.62)
    s.gradient((0.36, 0.26, 0.52), (0.93, 0.44, 0.42), 0, level * 0.55)
    s.gradient((0.93, 0.44, 0.42), (1.0, 0.78, 0.44), level * 0.55, level)
    s.sun((s.between(0.2, 0.8), level - 0.04), 0.14, (1.0, 0.88, 0.50))
    for x, y in s.scatter(3, 0.10, level - 0.2):
        s.paint((1.0, 0.62, 0.50), ellipse((x, y), (0.16, 0.018)), opacity=0.7)
    s.hills((0.48, 0.26, 0.44), level + 0.03, 0.09)
    s.gradient((0.42, 0.25, 0.38), (0.26, 0.16, 0.30), level + 0.02, 1)


def rain(s: Scenery) -> None:
    """Paint a rainy landscape."""
    level = s.between(0.62, 0.68)
    s.gradient((0.40, 0.46, 0.54), (0.66, 0.71, 0.75), 0, level)
    s.clouds((0.31, 0.36, 0.44), 3)
    s.clouds((0.50, 0.55, 0.62), 2)
    s.hills((0.42, 0.52, 0.52), level + 0.03, 0.08)
    s.gradient((0.42, 0.50, 0.50), (0.34, 0.42, 0.44), level + 0.02, 1)
    for x, y in s.scatter(3, 0.78, 0.97):
        s.paint((0.62, 0.72, 0.80), ellipse((x, y), (0.12, 0.025)), opacity=0.8)
    for top in (0.12, 0.30, 0.46, 0.62, 0.8):
        for x, y in s.scatter(6, top, top + 0.12):
            s.paint((0.80, 0.90, 0.97), limb((x, y), (x - 0.02, y + 0.07), 0.0065), opacity=0.75)


def kitchen(s: Scenery) -> None:
    """Paint a kitchen."""
    counter = s.between(0.66, 0.72)
    tile = s.vary(((0.90, 0.93, 0.90), (0.86, 0.92, 0.95), (0.97, 0.92, 0.84))[s.rng.integers(3)])
    s.gradient(tile, tile, 0, counter)
    step, shift = 0.155, s.between(0, 0.155)
    joints = (tile[0] * 0.90, tile[1] * 0.91, tile[2] * 0.92)
    for place in range(8):
        s.paint(joints, box((place * step - shift, counter / 2), (0.005, counter / 2)))
    for place in range(5):
        s.paint(joints, box((0.5, counter - 0.05 - place * step), (0.5, 0.005)))
    door = s.vary(((0.40, 0.62, 0.60), (0.80, 0.56, 0.40), (0.46, 0.56, 0.72))[s.rng.integers(3)])
    s.paint(door, box((0.5, 0.06), (0.5, 0.08)))
    for place in range(4):
        x = place * 0.28 + 0.08
        s.paint((0.25, 0.25, 0.28), box((x, 0.07), (0.006, 0.07)))
        s.paint((0.93, 0.88, 0.76), circle((x + 0.05, 0.09), 0.015))
    hanging(s)
    s.gradient((0.80, 0.62, 0.44), (0.72, 0.52, 0.35), counter, 1)
    s.paint((0.88, 0.72, 0.54), box((0.5, counter + 0.012), (0.5, 0.014)))


def hanging(s: Scenery) -> None:
    """Paint a pan, a ladle and a spatula on a rail."""
    s.paint((0.55, 0.57, 0.60), box((0.5, 0.215), (0.5, 0.008)))
    pan, ladle = s.between(0.10, 0.2), s.between(0.8, 0.92)
    steel = (0.36, 0.38, 0.42)
    s.paint(steel, limb((pan, 0.22), (pan, 0.34), 0.012), circle((pan, 0.41), 0.085))
    s.paint((0.48, 0.50, 0.54), circle((pan, 0.41), 0.062))
    s.paint(steel, limb((ladle - 0.05, 0.22), (ladle - 0.05, 0.40), 0.010))
    s.paint(steel, ellipse((ladle - 0.05, 0.42), (0.035, 0.045)), depth=0.5)
    s.paint((0.62, 0.44, 0.28), limb((ladle + 0.06, 0.22), (ladle + 0.06, 0.34), 0.012))
    s.paint(steel, box((ladle + 0.06, 0.40), (0.034, 0.06), 0.015))


def room(s: Scenery) -> None:
    """Paint a room."""
    floor = s.between(0.70, 0.76)
    paper = ((0.80, 0.87, 0.80), (0.90, 0.80, 0.76), (0.95, 0.89, 0.74), (0.76, 0.82, 0.90))
    wall = s.vary(paper[s.rng.integers(4)])
    s.gradient(wall, wall, 0, floor)
    band = (wall[0] * 0.94, wall[1] * 0.94, wall[2] * 0.95)
    step, shift = 0.16, s.between(0, 0.16)
    for place in range(8):
        s.paint(band, box((place * step - shift, floor / 2), (0.035, floor / 2)))
    window(s, s.between(0.14, 0.24) if s.rng.random() < 0.5 else s.between(0.76, 0.86))
    s.gradient((0.74, 0.53, 0.36), (0.64, 0.44, 0.30), floor, 1)
    s.paint((0.97, 0.96, 0.93), box((0.5, floor - 0.012), (0.5, 0.018)))
    rug = s.vary(((0.70, 0.36, 0.36), (0.36, 0.48, 0.62), (0.48, 0.58, 0.46))[s.rng.integers(3)])
    s.paint(rug, ellipse((0.5, 0.92), (0.48, 0.10)))
    s.paint((0.92, 0.86, 0.74), ring((0.5, 0.92), (0.43, 0.08), 0.006))


def window(s: Scenery, x: float) -> None:
    """Paint a window with a view of the sky."""
    s.paint((0.98, 0.97, 0.95), box((x, 0.26), (0.15, 0.18), 0.01))
    s.paint((0.64, 0.84, 0.96), box((x, 0.26), (0.125, 0.155)))
    s.paint(
        (0.60, 0.78, 0.48),
        within(ellipse((x + 0.03, 0.44), (0.2, 0.1)), box((x, 0.26), (0.125, 0.155))),
    )
    s.paint((0.98, 0.97, 0.95), box((x, 0.26), (0.011, 0.16)), box((x, 0.26), (0.13, 0.011)))


def space(s: Scenery) -> None:
    """Paint outer space."""
    s.gradient((0.05, 0.04, 0.14), (0.15, 0.09, 0.28))
    s.paint(
        (0.36, 0.20, 0.52),
        ellipse((s.between(0, 1), s.between(0.2, 0.8)), (0.6, 0.16), 0.5),
        opacity=0.25,
    )
    s.stars(26, 0.98)
    planets = ((0.92, 0.58, 0.38), (0.42, 0.66, 0.84), (0.80, 0.70, 0.50))
    x = s.between(0.08, 0.2) if s.rng.random() < 0.5 else s.between(0.8, 0.92)
    y, radius = s.between(0.12, 0.24), s.between(0.09, 0.13)
    s.paint(planets[s.rng.integers(3)], circle((x, y), radius), depth=1)
    s.paint(
        (0.96, 0.88, 0.72), limb((x - radius * 1.6, y + 0.03), (x + radius * 1.6, y - 0.03), 0.009)
    )
    s.paint((0.66, 0.66, 0.72), circle((1 - x, s.between(0.78, 0.9)), 0.055), depth=1)


def underwater(s: Scenery) -> None:
    """Paint an underwater scene."""
    floor = s.between(0.76, 0.82)
    s.gradient((0.30, 0.74, 0.84), (0.06, 0.36, 0.58))
    for x, _ in s.scatter(3, 0, 1):
        ray = ((x, -0.05), (x + 0.10, -0.05), (x - 0.02, 0.8), (x - 0.22, 0.8))
        s.paint((0.70, 0.95, 0.96), polygon(ray), opacity=0.16)
    s.hills((0.10, 0.44, 0.58), floor + 0.03, 0.14)
    s.gradient((0.62, 0.66, 0.52), (0.50, 0.54, 0.44), floor, 1)
    for x in (
        s.between(0.04, 0.12),
        s.between(0.16, 0.22),
        s.between(0.8, 0.86),
        s.between(0.9, 0.97),
    ):
        weed(s, x, floor + 0.05, s.between(0.22, 0.40))
    for x, y in s.scatter(6, 0.08, 0.6):
        s.paint((0.84, 0.97, 0.99), ring((x, y), (0.020, 0.020), 0.006), opacity=0.8)


def weed(s: Scenery, x: float, base: float, height: float) -> None:
    """Paint a swaying plant of three pieces."""
    colour = s.vary(((0.16, 0.56, 0.40), (0.86, 0.42, 0.44))[int(s.rng.random() < 0.3)])
    for piece in range(3):
        low, high = base - height * piece / 3, base - height * (piece + 1) / 3
        sway = 0.022 if piece % 2 else -0.022
        s.paint(
            colour,
            limb((x - sway, low), (x + sway, high), (0.026 - 0.006 * piece, 0.020 - 0.006 * piece)),
        )
