"""Large objects: how each class is drawn."""

from __future__ import annotations

from .art import GLASS, INK, Anchors, Art, mixed
from .canvas import Fill
from .shapes import box, circle, ellipse, limb, polygon, union, within

__all__ = ["boat", "car", "house", "rocket"]

WOOD = Fill((0.50, 0.34, 0.22))
FLAME = (1.0, 0.55, 0.15)


def car(art: Art) -> Anchors:
    """Draw a car from the side; traits: cabin height and place, wheels, nose, bumper, slope."""
    roof, place = art.trait(0, 0.36, 0.56), art.trait(1, -0.16, 0.06)
    wheel, nose = art.trait(2, 0.22, 0.29), art.trait(3, -0.34, -0.14)
    bumper, slope = art.trait(4, 0.05, 0.09), art.trait(5, 0.06, 0.22)
    cabin = (
        (place - 0.52, -0.16),
        (place - 0.52 + slope, roof),
        (place + 0.46 - slope, roof),
        (place + 0.58, -0.16),
    )
    art.paint(art.bare, polygon(cabin, 0.10))
    middle = place + 0.03
    left = (cabin[0], cabin[1], (middle - 0.06, roof), (middle - 0.06, -0.16))
    right = ((middle + 0.06, -0.16), (middle + 0.06, roof), cabin[2], cabin[3])
    art.paint(GLASS, polygon([(x * 0.98, y) for x, y in left], 0.01))
    art.paint(GLASS, polygon([(x * 0.98, y) for x, y in right], 0.01))
    body = union(
        box((-0.04, -0.42), (0.90, 0.30), 0.16), box((0.50, -0.48), (0.44, 0.50 + nose), 0.14)
    )
    art.paint(art.main, body)
    art.paint(art.trim, limb((-0.84, -0.62), (0.86, -0.62), bumper))
    art.paint(Fill((1.0, 0.93, 0.60), line=0.3), ellipse((0.84, -0.36), (0.09, 0.10)))
    art.paint(Fill((0.90, 0.20, 0.15), line=0.3), ellipse((-0.88, -0.34), (0.06, 0.09)))
    art.paint(INK, limb((middle - 0.22, -0.26), (middle - 0.10, -0.26), 0.03))
    for x in (-0.50, 0.50):
        art.paint(Fill((0.17, 0.17, 0.19), line=0.2), circle((x, -1 + wheel), wheel))
        art.paint(art.trim, circle((x, -1 + wheel), wheel * 0.52))
    return Anchors((-0.06, -0.40, 0.20), (place - 0.05, roof + 0.09), 0.92)


def boat(art: Art) -> Anchors:
    """Draw a sailing boat; traits: hull, mast, main sail, foresail, stripe, depth."""
    hull, mast = art.trait(0, 0.60, 0.78), art.trait(1, -0.12, 0.10)
    sail, fore = art.trait(2, 0.64, 0.80), art.trait(3, 0.40, 0.60)
    stripe, deep = art.trait(4, 0.05, 0.08), art.trait(5, 0.34, 0.46)
    art.paint(WOOD, limb((mast, -0.5), (mast, 0.93), 0.045))
    art.paint(
        art.main, polygon(((mast - 0.10, 0.80), (mast - 0.10, -0.34), (mast - sail, -0.34)), 0.04)
    )
    art.paint(
        art.trim, polygon(((mast + 0.10, 0.66), (mast + 0.10, -0.34), (mast + fore, -0.34)), 0.04)
    )
    low = -0.44 - deep
    shape = polygon(((-0.88, -0.48), (0.92, -0.42), (hull - 0.10, low), (-hull + 0.04, low)), 0.06)
    art.paint(art.bare, shape)
    art.paint(art.trim, limb((-0.82, -0.52), (0.86, -0.47), stripe))
    art.paint(art.trim, circle((-0.24, -0.70), 0.085), circle((0.12, -0.69), 0.085))
    return Anchors((mast - 0.32, -0.10, 0.17), (mast, 0.93), 0.70)


def house(art: Art) -> Anchors:
    """Draw a house from the front; traits: width, eaves, wall, door, chimney, crooked roof."""
    wide, eaves = art.trait(0, 0.56, 0.68), art.trait(1, 0.12, 0.20)
    wall, door = art.trait(2, 0.0, 0.14), art.trait(3, 0.14, 0.19)
    chimney, crook = art.trait(4, -0.02, 0.18), art.trait(5, -0.16, 0.16)
    brick = Fill(mixed(art.look.second_colour, (0.45, 0.25, 0.20), 0.55))
    art.paint(brick, box((0.38, 0.50 + chimney / 2), (0.11, 0.30 + chimney / 2), 0.03))
    art.paint(art.main, box((0, (wall - 1) / 2), (wide, (wall + 1) / 2), 0.03))
    roof = ((-wide - eaves, wall), (crook, 0.86), (wide + eaves, wall))
    art.paint(art.trim, polygon(roof, 0.07))
    art.paint(art.bare, circle((crook * 0.4, 0.34), 0.12))
    art.paint(GLASS, circle((crook * 0.4, 0.34), 0.085))
    art.paint(WOOD, box((-0.20, -0.70), (door, 0.30), 0.05))
    art.paint(Fill((0.98, 0.85, 0.40), line=0), circle((-0.13, -0.70), 0.035))
    art.paint(art.trim, box((0.28, -0.44), (0.20, 0.20), 0.04))
    art.paint(GLASS, box((0.28, -0.44), (0.145, 0.145), 0.02))
    art.paint(
        art.trim, limb((0.28, -0.6), (0.28, -0.3), 0.02), limb((0.12, -0.44), (0.44, -0.44), 0.02)
    )
    return Anchors((-0.32, -0.18, 0.16), (crook, 0.90), 0.82)


def rocket(art: Art) -> Anchors:
    """Draw a rocket standing on its fins; traits: belly, fins, nose, window, band, flame."""
    belly, fin = art.trait(0, 0.30, 0.40), art.trait(1, 0.52, 0.72)
    nose, window = art.trait(2, 0.34, 0.52), art.trait(3, 0.13, 0.18)
    band, flame = art.trait(4, 0.04, 0.08), art.trait(5, 0.08, 0.20)
    flare = Fill(FLAME, depth=0, line=0.15)
    art.paint(flare, polygon(((-0.20, -0.70), (0.20, -0.70), (0, -0.84 - flame)), 0.05))
    art.paint(
        Fill((1.0, 0.90, 0.40), depth=0, line=0),
        polygon(((-0.09, -0.72), (0.09, -0.72), (0, -0.74 - flame)), 0.03),
    )
    for side in (-1, 1):
        points = (
            (side * 0.20, -0.14),
            (side * fin, -0.66),
            (side * fin, -0.96),
            (side * 0.2, -0.66),
        )
        art.paint(art.trim, polygon(points, 0.04))
    art.paint(Fill((0.36, 0.36, 0.40)), box((0, -0.70), (0.22, 0.08), 0.03))
    body = within(ellipse((0, -0.02), (belly + 0.04, 1.0)), box((0, 0.16), (1, 0.84)))
    art.paint(art.main, body)
    art.paint(art.trim, within(body, box((0, 1.0 + nose), (1, 1.0))))
    art.paint(art.trim, within(body, box((0, -0.46), (1, band))))
    art.paint(art.trim, circle((0, 0.16), window + 0.075))
    art.paint(GLASS, circle((0, 0.16), window))
    return Anchors((0.0, -0.22, 0.17), (0.0, 0.96), 0.46)
