"""Odd parts, which distinguish individuals of a class; captions never mention them."""

from __future__ import annotations

from math import cos, pi, sin

from .art import Anchors, Art, mixed
from .canvas import Fill
from .shapes import box, circle, ellipse, limb, polygon, union

__all__ = ["add_odd_part"]


def add_odd_part(art: Art, anchors: Anchors) -> None:
    """Draw the look's odd part, if it has one."""
    if art.look.odd_part is not None:
        ODD_PART_DRAWINGS[art.look.odd_part](art, anchors)


def heart(art: Art, anchors: Anchors) -> None:
    x, y, r = anchors.badge
    shape = union(
        circle((x - 0.42 * r, y + 0.30 * r), 0.50 * r),
        circle((x + 0.42 * r, y + 0.30 * r), 0.50 * r),
        polygon(
            ((x - 0.80 * r, y + 0.08 * r), (x + 0.80 * r, y + 0.08 * r), (x, y - 0.82 * r)), 0.1 * r
        ),
    )
    art.paint(odd_fill(art), shape)


def star(art: Art, anchors: Anchors) -> None:
    x, y, r = anchors.badge
    turns = [pi / 2 + place * pi / 5 for place in range(10)]
    reach = [r * (0.98 if place % 2 == 0 else 0.44) for place in range(10)]
    points = [(x + cos(t) * d, y + sin(t) * d) for t, d in zip(turns, reach, strict=True)]
    art.paint(odd_fill(art), polygon(points, 0.06 * r))


def daisy(art: Art, anchors: Anchors) -> None:
    x, y, r = anchors.badge
    fill = odd_fill(art)
    turns = [2 * pi * place / 5 + 0.3 for place in range(5)]
    petals = [circle((x + cos(t) * 0.58 * r, y + sin(t) * 0.58 * r), 0.40 * r) for t in turns]
    art.paint(fill, union(*petals))
    art.paint(Fill((1.0, 0.86, 0.30), depth=0.5, line=0.3), circle((x, y), 0.34 * r))


def plaster(art: Art, anchors: Anchors) -> None:
    """Draw two crossed strips."""
    x, y, r = anchors.badge
    strips = [box((x, y), (r, 0.34 * r), 0.25 * r, turn) for turn in (pi / 4, -pi / 4)]
    art.paint(odd_fill(art), *strips)


def bow(art: Art, anchors: Anchors) -> None:
    x, y = anchors.top
    y -= 0.02
    fill = odd_fill(art)
    for side in (-1, 1):
        wing = ((x, y), (x + side * 0.30, y + 0.17), (x + side * 0.30, y - 0.17))
        art.paint(fill, polygon(wing, 0.05))
    art.paint(Fill(mixed(fill.colour, (0, 0, 0), 0.2)), ellipse((x, y), (0.09, 0.11)))


def antenna(art: Art, anchors: Anchors) -> None:
    x, y = anchors.top
    art.paint(Fill((0.35, 0.35, 0.40)), limb((x, y - 0.06), (x + 0.06, y + 0.22), 0.035))
    art.paint(odd_fill(art), circle((x + 0.07, y + 0.27), 0.12))


def flag(art: Art, anchors: Anchors) -> None:
    x, y = anchors.top
    art.paint(Fill((0.45, 0.33, 0.24)), limb((x, y - 0.08), (x, y + 0.36), 0.03))
    points = ((x + 0.03, y + 0.38), (x + 0.40, y + 0.24), (x + 0.03, y + 0.08))
    art.paint(odd_fill(art), polygon(points, 0.03))


def odd_fill(art: Art) -> Fill:
    return Fill(art.look.odd_colour, depth=0.6, line=0.5)


ODD_PART_DRAWINGS = {
    drawing.__name__: drawing for drawing in (heart, star, daisy, plaster, bow, antenna, flag)
}
