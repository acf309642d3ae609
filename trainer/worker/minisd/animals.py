"""The animals: how each class is drawn."""

from __future__ import annotations

from .art import INK, WHITE, Anchors, Art
from .shapes import circle, ellipse, limb, polygon, union, within

__all__ = ["cat", "dog", "duck", "fish", "rabbit", "turtle"]


def dog(art: Art) -> Anchors:
    """Draw a sitting dog; traits: body, head, ear length, muzzle, tail, crooked ear."""
    round_, head = art.trait(0, 0.34, 0.46), art.trait(1, 0.90, 1.08)
    ear, muzzle = art.trait(2, 0.26, 0.42), art.trait(3, 0.9, 1.2)
    tail, crook = art.trait(4, -0.25, 0.25), art.trait(5, 0.0, 0.5)
    art.paint(art.main, limb((-0.45, -0.72), (-0.82, -0.15 + tail), (0.12, 0.085)))
    body = union(
        limb((-0.16, -0.55), (0.1, 0.05), (round_, 0.32)),
        ellipse((-0.28, -0.66), (0.40, 0.33)),
        softness=0.15,
    )
    art.paint(art.main, body)
    art.paint(art.trim, ellipse((0.22, -0.28), (0.19, 0.36), 0.15))
    art.paint(art.main, limb((0.04, -0.30), (0.02, -0.86), 0.12))
    art.paint(art.main, limb((0.36, -0.30), (0.40, -0.86), 0.12))
    art.paint(art.trim, *(ellipse((x, -0.90), (0.19, 0.10)) for x in (-0.34, 0.07, 0.45)))
    art.paint(art.trim, ellipse((0.60, 0.58), (0.13, ear * 0.75), 0.45))
    art.paint(art.main, ellipse((0.18, 0.42), (0.48 * head, 0.45 * head)))
    art.paint(art.trim, ellipse((0.46, 0.27), (0.28 * muzzle, 0.21)))
    art.paint(INK, ellipse((0.60, 0.38), (0.125, 0.09)))
    art.paint(INK, limb((0.60, 0.34), (0.57, 0.19), 0.018), limb((0.57, 0.19), (0.45, 0.16), 0.018))
    art.eyes(((0.10, 0.54), (0.45, 0.57)), 0.088)
    art.paint(art.trim, ellipse((-0.27, 0.40), (0.16, ear), -0.22 - crook))
    return Anchors((-0.24, -0.50, 0.24), (0.12, 0.84), 0.72)


def cat(art: Art) -> Anchors:
    """Draw a sitting cat; traits: body, head, ear height, cheeks, tail, crooked ear."""
    round_, tail = art.trait(0, 0.40, 0.52), art.trait(4, 0.0, 0.35)
    tip = (-0.70, -0.15 + tail)
    curl = (limb((-0.25, -0.82), (-0.62, -0.80), 0.11), limb((-0.62, -0.80), (-0.80, -0.50), 0.11))
    art.paint(art.main, union(*curl, limb((-0.80, -0.50), tip, (0.11, 0.10)), softness=0.1))
    art.paint(art.trim, circle(tip, 0.12))
    art.paint(
        art.main,
        union(
            ellipse((0.0, -0.58), (round_ + 0.06, 0.40)),
            ellipse((0, -0.2), (0.34, 0.5)),
            softness=0.1,
        ),
    )
    art.paint(art.trim, ellipse((0.0, -0.42), (0.22, 0.34)))
    art.paint(art.main, limb((-0.15, -0.5), (-0.16, -0.88), 0.11))
    art.paint(art.main, limb((0.15, -0.5), (0.16, -0.88), 0.11))
    art.paint(art.trim, *(ellipse((x, -0.90), (0.15, 0.09)) for x in (-0.17, 0.17)))
    cat_head(art)
    return Anchors((0.26, -0.58, 0.22), (0.04, 0.82), 0.72)


def cat_head(art: Art) -> None:
    """Draw ears, face and whiskers."""
    head, cheek = art.trait(1, 0.48, 0.58), art.trait(3, 0.40, 0.46)
    ear, crook = art.trait(2, 0.22, 0.40), art.trait(5, 0.0, 0.22)
    for side, droop in ((-1, 0.0), (1, crook)):
        peak = (side * 0.42 + 0.04 + droop, 0.68 + ear - droop * 0.8)
        points = ((side * 0.48 + 0.04, 0.46), peak, (side * 0.10 + 0.04, 0.70))
        art.paint(art.main, polygon(points, 0.04))
        inner = ((side * 0.41 + 0.04, 0.54), peak, (side * 0.18 + 0.04, 0.68))
        art.paint(art.trim, polygon([(x, y - 0.05) for x, y in inner]))
    art.paint(art.main, ellipse((0.04, 0.42), (head, cheek)))
    art.paint(art.trim, ellipse((-0.04, 0.27), (0.16, 0.13)), ellipse((0.18, 0.27), (0.16, 0.13)))
    art.paint(INK, polygon(((0.0, 0.38), (0.14, 0.38), (0.07, 0.31)), 0.02))
    for side in (-1, 1):
        x = 0.07 + side * 0.28
        art.paint(WHITE, *(limb((x, 0.27), (x + side * 0.32, y), 0.013) for y in (0.33, 0.19)))
    art.eyes(((-0.16, 0.50), (0.26, 0.50)), 0.10)


def rabbit(art: Art) -> Anchors:
    """Draw a sitting rabbit; traits: belly, head, ear length, ear width, feet, crooked ear."""
    belly, head = art.trait(0, 0.40, 0.54), art.trait(1, 0.36, 0.44)
    long, wide = art.trait(2, 0.30, 0.42), art.trait(3, 0.10, 0.15)
    foot, crook = art.trait(4, 0.22, 0.30), art.trait(5, 0.0, 0.9)
    art.paint(WHITE, circle((-belly - 0.06, -0.62), 0.16))
    for side, turn in ((-1, 0.18), (1, -0.14 - crook)):
        centre = (side * 0.19 + 0.02 - turn * 0.30 * (side > 0), 0.62 - 0.10 * crook * (side > 0))
        art.paint(art.main, ellipse(centre, (wide, long), turn))
        art.paint(art.trim, ellipse(centre, (wide * 0.5, long * 0.72), turn))
    art.paint(art.main, ellipse((0, -0.48), (belly, 0.46)))
    art.paint(art.trim, ellipse((0.04, -0.50), (belly * 0.58, 0.32)))
    art.paint(art.main, *(ellipse((x, -0.90), (foot, 0.11)) for x in (-0.28, 0.30)))
    art.paint(art.main, limb((-0.30, -0.22), (-0.14, -0.38), 0.09))
    art.paint(art.main, limb((0.32, -0.22), (0.20, -0.38), 0.09))
    art.paint(art.main, ellipse((0.02, 0.16), (head + 0.05, head)))
    art.paint(art.trim, ellipse((0.06, 0.03), (0.19, 0.14)))
    art.paint(INK, ellipse((0.06, 0.11), (0.07, 0.05)))
    art.paint(WHITE, polygon(((0.01, 0.0), (0.11, 0.0), (0.10, -0.10), (0.02, -0.10)), 0.01))
    art.eyes(((-0.16, 0.24), (0.26, 0.24)), 0.092)
    return Anchors((0.04, -0.52, 0.22), (0.02, 0.52), 0.62)


def duck(art: Art) -> Anchors:
    """Draw a rubber duck from the side; traits: body, head, bill, wing, tail, crest."""
    body, head = art.trait(0, 0.36, 0.46), art.trait(1, 0.34, 0.42)
    bill, wing = art.trait(2, 0.22, 0.34), art.trait(3, 0.30, 0.42)
    tail, crest = art.trait(4, -0.30, 0.05), art.trait(5, -0.1, 0.22)
    if crest > 0:
        art.paint(art.trim, limb((0.28, 0.72), (0.12, 0.80 + crest), (0.1, 0.05)))
    shape = union(
        ellipse((-0.06, -0.52), (0.76, body)),
        limb((-0.55, -0.42), (-0.88, tail), (0.22, 0.06)),
        limb((0.26, -0.2), (0.32, 0.2), 0.26),
        softness=0.2,
    )
    art.paint(art.main, shape)
    art.paint(art.main, circle((0.34, 0.38), head))
    art.paint(art.trim, ellipse((0.34 + head + bill * 0.45, 0.26), (bill, 0.085), -0.12))
    art.paint(art.trim, ellipse((0.34 + head + bill * 0.50, 0.36), (bill * 1.05, 0.10), 0.10))
    art.eyes(((0.46, 0.50),), 0.10)
    art.paint(art.trim, ellipse((-0.22, -0.42), (wing, 0.22), -0.25))
    return Anchors((0.30, -0.50, 0.24), (0.32, 0.74), 0.66, 0.02)


def fish(art: Art) -> Anchors:
    """Draw a fish from the side; traits: height, tail, back fin, lips, belly fin, stub."""
    tall, tail = art.trait(0, 0.44, 0.62), art.trait(1, 0.38, 0.58)
    back, lips = art.trait(2, 0.18, 0.42), art.trait(3, 0.06, 0.11)
    belly, stub = art.trait(4, 0.10, 0.30), art.trait(5, 0.7, 1.0)
    art.paint(
        art.trim,
        polygon(((-0.46, -0.02), (-0.90, tail), (-0.76, 0.0), (-0.90 * stub, -tail)), 0.07),
        polygon(((-0.38, 0.36), (-0.30, tall + back - 0.02), (0.30, tall - 0.12)), 0.06),
        polygon(((-0.10, -tall + 0.12), (-0.24, -tall - belly), (0.22, -tall + 0.1)), 0.05),
    )
    body = ellipse((0.14, 0.0), (0.76, tall))
    art.paint(art.main, body)
    art.paint(art.bare, within(body, circle((0.92, 0.0), 0.55)))
    art.paint(art.trim, ellipse((0.86, -0.12), (lips, 0.06)), ellipse((0.84, -0.21), (lips, 0.05)))
    art.eyes(((0.60, 0.14),), 0.12)
    art.paint(art.trim, polygon(((0.28, -0.06), (-0.02, 0.04), (-0.06, -0.26)), 0.05))
    return Anchors((-0.16, 0.14, 0.20), (0.10, tall), 0.60, 0.22)


def turtle(art: Art) -> Anchors:
    """Draw a turtle from the side; traits: shell, head, neck, legs, tail, rim."""
    dome, head = art.trait(0, 0.62, 0.86), art.trait(1, 0.24, 0.30)
    neck, leg = art.trait(2, -0.30, 0.05), art.trait(3, 0.13, 0.18)
    tail, rim = art.trait(4, 0.0, 0.14), art.trait(5, 0.07, 0.12)
    art.paint(art.trim, limb((-0.66, -0.62), (-0.90, -0.72 + tail), (0.10, 0.04)))
    for x in (-0.50, 0.36):
        art.paint(art.trim, limb((x, -0.62), (x, -0.86), leg))
    art.paint(art.trim, limb((0.50, -0.55), (0.70, neck), (0.20, 0.15)))
    art.paint(art.trim, circle((0.72, neck + 0.06), head))
    shell = within(
        ellipse((-0.10, -0.52), (0.72, dome)), polygon(((-1, -0.55), (1, -0.55), (1, 1), (-1, 1)))
    )
    art.paint(art.main, shell)
    art.paint(art.bare, limb((-0.76, -0.56), (0.56, -0.56), rim))
    art.paint(INK, limb((0.74, neck - 0.04), (0.92, neck + 0.0), 0.02))
    art.eyes(((0.76, neck + 0.14),), 0.085)
    return Anchors((-0.10, -0.20, 0.24), (-0.10, dome - 0.54), 0.78)
