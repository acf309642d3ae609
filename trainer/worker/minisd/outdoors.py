"""Outdoor backgrounds by day."""

from __future__ import annotations

from .scenery import Scenery
from .shapes import box, circle, ellipse, limb, polygon

__all__ = ["autumn", "beach", "city", "desert", "forest", "meadow", "mountains", "sea", "snow"]

SKY = ((0.47, 0.74, 0.95), (0.83, 0.93, 0.98))
PALE = (0.98, 0.99, 1.0)


def beach(s: Scenery) -> None:
    """Paint a beach."""
    sea = s.between(0.46, 0.52)
    shore = sea + s.between(0.10, 0.14)
    s.gradient(*SKY, 0, sea)
    s.sun((s.between(0.12, 0.88), s.between(0.12, 0.2)), 0.07, (1.0, 0.93, 0.62))
    s.clouds(PALE, 2)
    s.gradient((0.18, 0.60, 0.78), (0.38, 0.80, 0.84), sea, shore)
    s.gradient((0.97, 0.88, 0.68), (0.92, 0.79, 0.55), shore, 1)
    swing = s.between(-0.2, 0.2)
    s.paint((0.38, 0.80, 0.84), ellipse((0.3 + swing, shore), (0.40, 0.035)))
    s.paint(PALE, ellipse((0.8 + swing, shore), (0.45, 0.016)), opacity=0.9)
    x = s.between(0.05, 0.16) if s.rng.random() < 0.5 else s.between(0.84, 0.95)
    palm(s, x)


def palm(s: Scenery, x: float) -> None:
    """Paint a palm tree that leans towards the middle."""
    lean = 0.08 if x < 0.5 else -0.08
    top = (x + lean, s.between(0.20, 0.28))
    s.paint((0.56, 0.40, 0.26), limb((x, 0.68), top, (0.025, 0.016)))
    for dx, dy in ((-0.16, 0.05), (-0.11, -0.07), (0.02, -0.11), (0.13, -0.04), (0.15, 0.08)):
        tip = (top[0] + dx, top[1] + dy)
        s.paint((0.25, 0.58, 0.30), limb(top, tip, (0.030, 0.010)))


def snow(s: Scenery) -> None:
    """Paint a snowy landscape."""
    level = s.between(0.56, 0.62)
    s.gradient((0.66, 0.78, 0.90), (0.88, 0.93, 0.97))
    s.hills((0.80, 0.87, 0.94), level + 0.02, 0.14)
    for x, base in s.scatter(4, level, level + 0.05):
        s.fir(x, base, s.between(0.24, 0.36), s.vary((0.28, 0.48, 0.45)), PALE)
    s.gradient((0.95, 0.97, 0.99), (0.84, 0.90, 0.96), level + 0.03, 1)
    s.paint((0.95, 0.97, 0.99), ellipse((s.between(0.1, 0.9), level + 0.05), (0.5, 0.06)))
    for x, y in (*s.scatter(7, 0.02, 0.3), *s.scatter(7, 0.3, 0.62)):
        s.paint((1.0, 1.0, 1.0), circle((x, y), s.between(0.010, 0.017)))


def forest(s: Scenery) -> None:
    """Paint a forest."""
    level = s.between(0.60, 0.66)
    s.gradient((0.62, 0.80, 0.66), (0.84, 0.92, 0.74), 0, level)
    for x, base in s.scatter(6, level, level):
        s.fir(x, base + 0.02, s.between(0.50, 0.66), s.vary((0.44, 0.66, 0.50)))
    for x, base in s.scatter(5, level, level + 0.04):
        s.fir(x, base + 0.02, s.between(0.44, 0.62), s.vary((0.20, 0.45, 0.30)))
    s.gradient((0.34, 0.54, 0.28), (0.24, 0.42, 0.22), level + 0.02, 1)
    s.paint((0.66, 0.58, 0.40), ellipse((s.between(0.35, 0.65), 1.0), (0.34, 0.16)), opacity=0.7)


def desert(s: Scenery) -> None:
    """Paint a desert."""
    level = s.between(0.55, 0.62)
    s.gradient((0.96, 0.80, 0.56), (0.99, 0.92, 0.74), 0, level + 0.05)
    s.sun((s.between(0.15, 0.85), s.between(0.14, 0.22)), 0.085, (1.0, 0.96, 0.78))
    s.hills((0.88, 0.64, 0.40), level + 0.04, 0.15)
    s.gradient((0.93, 0.72, 0.44), (0.86, 0.60, 0.34), level + 0.03, 1)
    s.paint((0.97, 0.79, 0.52), ellipse((s.between(0.0, 1.0), level + 0.07), (0.5, 0.06)))
    for x in (s.between(0.06, 0.18), s.between(0.82, 0.94)):
        cactus(s, x, level + s.between(0.08, 0.14), s.between(0.22, 0.34))


def cactus(s: Scenery, x: float, base: float, height: float) -> None:
    green, thick = s.vary((0.32, 0.55, 0.33)), height * 0.11
    s.paint(green, limb((x, base), (x, base - height), thick), depth=0.6)
    for side, low in ((-1, 0.42), (1, 0.56)):
        out, y = x + side * height * 0.28, base - height * low
        s.paint(green, limb((x, y), (out, y), thick * 0.7))
        s.paint(green, limb((out, y), (out, y - height * 0.25), thick * 0.7))


def city(s: Scenery) -> None:
    """Paint a city."""
    ground = s.between(0.70, 0.75)
    s.gradient((0.60, 0.76, 0.90), (0.90, 0.92, 0.90), 0, ground)
    for x, top in s.scatter(6, 0.14, 0.42):
        s.paint(
            s.vary((0.70, 0.76, 0.84)), box((x, (top + ground) / 2), (0.09, (ground - top) / 2))
        )
    for x, top in s.scatter(4, 0.26, 0.48):
        tower(s, x, top, ground)
    s.gradient((0.78, 0.77, 0.76), (0.78, 0.77, 0.76), ground, ground + 0.045)
    s.gradient((0.40, 0.42, 0.46), (0.34, 0.36, 0.40), ground + 0.045, 1)
    shift = s.between(0, 0.3)
    for place in range(4):
        x = shift + place * 0.3 - 0.1
        s.paint((0.94, 0.92, 0.82), box((x, ground + 0.14), (0.07, 0.011)))


def tower(s: Scenery, x: float, top: float, ground: float) -> None:
    """Paint a building with windows, some of them lit."""
    colour = s.vary(((0.84, 0.62, 0.52), (0.56, 0.62, 0.72), (0.86, 0.78, 0.64))[s.rng.integers(3)])
    s.paint(colour, box((x, (top + ground) / 2), (0.105, (ground - top) / 2)))
    y = top + 0.045
    while y < ground - 0.05:
        for dx in (-0.06, 0.0, 0.06):
            lit = s.rng.random() < 0.4
            s.paint(
                (1.0, 0.92, 0.66) if lit else (0.40, 0.50, 0.62), box((x + dx, y), (0.018, 0.022))
            )
        y += 0.08


def meadow(s: Scenery) -> None:
    """Paint a meadow."""
    level = s.between(0.54, 0.60)
    s.gradient(*SKY, 0, level + 0.06)
    s.clouds(PALE, 3)
    s.hills((0.60, 0.80, 0.50), level + 0.05, 0.13)
    s.gradient((0.55, 0.78, 0.36), (0.40, 0.66, 0.28), level + 0.04, 1)
    s.tree(
        s.between(0.04, 0.2) if s.rng.random() < 0.5 else s.between(0.8, 0.96),
        level + 0.08,
        0.34,
        (0.36, 0.62, 0.30),
    )
    petals = ((0.98, 0.98, 0.95), (0.98, 0.80, 0.30), (0.95, 0.55, 0.65))
    for x, y in (*s.scatter(6, level + 0.09, level + 0.17), *s.scatter(6, 0.82, 0.98)):
        s.paint(petals[s.rng.integers(3)], circle((x, y), 0.017))


def sea(s: Scenery) -> None:
    """Paint the sea."""
    level = s.between(0.42, 0.48)
    s.gradient((0.52, 0.76, 0.94), (0.86, 0.94, 0.97), 0, level)
    s.clouds(PALE, 3)
    s.gradient((0.12, 0.42, 0.70), (0.22, 0.58, 0.78), level, 0.8)
    for row in range(4):
        y = level + 0.06 + 0.075 * row
        for x, _ in s.scatter(3, 0, 1):
            s.paint((0.60, 0.84, 0.92), ellipse((x, y), (0.07, 0.009)), opacity=0.8)
    s.gradient((0.72, 0.55, 0.38), (0.62, 0.45, 0.30), 0.76, 1)
    for y in (0.76, 0.84, 0.925):
        s.paint((0.48, 0.34, 0.22), box((0.5, y), (0.5, 0.006)))
    x = s.between(0.1, 0.25) if s.rng.random() < 0.5 else s.between(0.75, 0.9)
    s.paint(
        (0.95, 0.96, 0.96),
        polygon(((x, level - 0.12), (x, level - 0.005), (x + 0.07, level - 0.005))),
    )
    s.paint((0.75, 0.30, 0.25), box((x + 0.02, level + 0.008), (0.07, 0.012)))


def mountains(s: Scenery) -> None:
    """Paint mountains."""
    level = s.between(0.60, 0.66)
    s.gradient((0.50, 0.70, 0.92), (0.90, 0.94, 0.97), 0, level)
    for x, top in s.scatter(3, 0.10, 0.26):
        peak(s, x, top, level)
    s.hills((0.38, 0.58, 0.42), level + 0.03, 0.10)
    s.gradient((0.50, 0.68, 0.40), (0.40, 0.57, 0.32), level + 0.02, 1)
    for x, y in s.scatter(3, level + 0.08, level + 0.2):
        s.paint((0.66, 0.67, 0.68), ellipse((x, y), (0.045, 0.026)), depth=0.8)


def peak(s: Scenery, x: float, top: float, level: float) -> None:
    """Paint a mountain with a lit side and a white cap."""
    wide, tall = s.between(0.30, 0.40), level + 0.02 - top
    s.paint(
        s.vary((0.50, 0.54, 0.66)),
        polygon(((x - wide, level + 0.02), (x, top), (x + wide, level + 0.02))),
    )
    s.paint(
        (0.41, 0.45, 0.58), polygon(((x + 0.05, level + 0.02), (x, top), (x + wide, level + 0.02)))
    )
    w, y = wide * 0.32, top + tall * 0.32
    s.paint(
        PALE,
        polygon(
            (
                (x - w, y),
                (x, top),
                (x + w, y),
                (x + w * 0.4, y - 0.03),
                (x, y + 0.02),
                (x - w * 0.4, y - 0.03),
            )
        ),
    )


def autumn(s: Scenery) -> None:
    """Paint an autumn park."""
    level = s.between(0.60, 0.66)
    s.gradient((0.80, 0.86, 0.86), (0.98, 0.93, 0.80), 0, level)
    leaves = ((0.93, 0.56, 0.18), (0.84, 0.34, 0.18), (0.95, 0.74, 0.25))
    for x, base in s.scatter(5, level, level):
        s.tree(x, base + 0.03, s.between(0.40, 0.52), s.vary((0.93, 0.72, 0.45)))
    s.gradient((0.80, 0.66, 0.36), (0.68, 0.50, 0.28), level + 0.02, 1)
    for x in (s.between(0.0, 0.14), s.between(0.86, 1.0)):
        s.tree(x, level + 0.10, s.between(0.62, 0.74), leaves[s.rng.integers(3)])
    for x, y in (
        *s.scatter(6, level + 0.06, 0.8),
        *s.scatter(6, 0.82, 0.98),
        *s.scatter(4, 0.1, 0.5),
    ):
        s.paint(leaves[s.rng.integers(3)], ellipse((x, y), (0.024, 0.014), s.between(-0.8, 0.8)))
