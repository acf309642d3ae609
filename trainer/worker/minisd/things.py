"""Household objects: how each class is drawn."""

from __future__ import annotations

from math import cos, pi, sin

from .art import INK, Anchors, Art, mixed
from .canvas import Fill
from .shapes import box, circle, ellipse, limb, polygon, ring, union, within

__all__ = ["backpack", "cup", "flower", "lamp", "mushroom", "robot", "teapot"]

LEAF = Fill((0.33, 0.62, 0.28), depth=0.9)
CREAM = Fill((0.97, 0.92, 0.80))


def cup(art: Art) -> Anchors:
    """Draw a mug; traits: width, taper, handle, rim, saucer, height."""
    wide, taper = art.trait(0, 0.46, 0.60), art.trait(1, 0.0, 0.14)
    handle, rim = art.trait(2, 0.22, 0.32), art.trait(3, 0.10, 0.15)
    saucer, top = art.trait(4, 0.66, 0.86), art.trait(5, 0.45, 0.70)
    art.paint(art.trim, ellipse((-0.10, -0.90), (saucer, 0.10)))
    art.paint(art.trim, ring((wide - 0.06, -0.14), (handle + 0.08, handle + 0.04), 0.075))
    left, right, low = -0.14 - wide, -0.14 + wide, wide - taper
    wall = polygon(((left, top), (right, top), (-0.14 + low, -0.72), (-0.14 - low, -0.72)), 0.10)
    art.paint(art.main, wall)
    art.paint(art.trim, ellipse((-0.14, top + 0.04), (wide + 0.10, rim + 0.06)))
    art.paint(
        Fill((0.36, 0.22, 0.14), depth=0.4, line=0.3),
        ellipse((-0.14, top + 0.03), (wide + 0.01, rim - 0.01)),
    )
    return Anchors((-0.14, -0.16, 0.26), (-0.40, top + 0.10), 0.74)


def teapot(art: Art) -> Anchors:
    """Draw a teapot; traits: belly, height, spout, handle, lid, knob."""
    wide, tall = art.trait(0, 0.50, 0.60), art.trait(1, 0.44, 0.56)
    spout, handle = art.trait(2, 0.10, 0.36), art.trait(3, 0.24, 0.34)
    lid, knob = art.trait(4, 0.12, 0.24), art.trait(5, 0.07, 0.13)
    middle = -0.92 + tall
    art.paint(art.trim, ring((-wide - 0.06, middle + 0.08), (handle, handle + 0.06), 0.075))
    art.paint(
        art.trim,
        union(
            limb((wide - 0.14, middle - 0.16), (0.74, middle + 0.08), (0.20, 0.12)),
            limb((0.74, middle + 0.08), (0.88, middle + 0.24 + spout), (0.12, 0.08)),
            softness=0.1,
        ),
    )
    art.paint(art.trim, box((0, -0.92), (0.36, 0.07), 0.05))
    art.paint(art.main, ellipse((0, middle), (wide, tall)))
    peak = middle + tall
    art.paint(art.trim, circle((0, peak + lid + knob * 0.8), knob))
    cover = within(ellipse((0, peak - 0.08), (0.36, lid + 0.10)), box((0, peak + 0.4), (1, 0.48)))
    art.paint(art.trim, cover)
    return Anchors((0.0, middle, 0.26), (0.0, peak + lid + knob), 0.62)


def lamp(art: Art) -> Anchors:
    """Draw a table lamp; traits: shade top, shade bottom, shade height, stand, foot, string."""
    top, bottom = art.trait(0, 0.22, 0.40), art.trait(1, 0.62, 0.80)
    low, stand = art.trait(2, -0.16, 0.08), art.trait(3, 0.10, 0.26)
    foot, string = art.trait(4, 0.34, 0.48), art.trait(5, 0.1, 0.3)
    art.paint(art.bare, limb((0, -0.80), (0, low), 0.06))
    art.paint(art.trim, ellipse((0, -0.58), (stand, 0.28)))
    art.paint(art.trim, box((0, -0.91), (foot, 0.09), 0.06))
    art.paint(INK, limb((bottom * 0.6, low), (bottom * 0.6, low - string), 0.02))
    art.paint(art.bare, circle((bottom * 0.6, low - string), 0.06))
    art.paint(Fill((1.0, 0.94, 0.66), depth=0, line=0.2), ellipse((0, low), (0.15, 0.16)))
    shade = polygon(((-top, 0.90), (top, 0.90), (bottom, low), (-bottom, low)), 0.06)
    art.paint(art.main, shade)
    art.paint(
        art.trim, limb((-bottom, low), (bottom, low), 0.065), limb((-top, 0.9), (top, 0.9), 0.06)
    )
    return Anchors((0.0, 0.46, 0.22), (0.0, 0.92), 0.52)


def robot(art: Art) -> Anchors:
    """Draw a toy robot; traits: head width, body width, legs, arms, mouth, tilted head."""
    head, body = art.trait(0, 0.36, 0.50), art.trait(1, 0.40, 0.52)
    leg, arm = art.trait(2, 0.09, 0.15), art.trait(3, -0.55, 0.15)
    mouth, tilt = art.trait(4, 0.10, 0.22), art.trait(5, -0.16, 0.16)
    metal = Fill((0.70, 0.73, 0.77))
    for side in (-1, 1):
        art.paint(metal, limb((side * 0.22, -0.60), (side * 0.22, -0.84), leg))
        art.paint(art.trim, box((side * 0.24 + 0.03, -0.90), (0.21, 0.10), 0.07))
        hand = (side * (body + 0.26), arm if side > 0 else -0.42)
        art.paint(metal, limb((side * body, -0.06), hand, 0.08))
        art.paint(art.trim, circle(hand, 0.13))
    art.paint(art.main, box((0, -0.30), (body, 0.40), 0.12))
    art.paint(metal, box((0, 0.16), (0.14, 0.10), 0.03))
    art.paint(art.trim, box((0, 0.50), (head + 0.10, 0.11), 0.06, tilt))
    art.paint(art.main, box((0, 0.52), (head, 0.36), 0.12, tilt))
    art.paint(
        Fill((0.14, 0.17, 0.24), depth=0.3), box((0.03, 0.54), (head - 0.08, 0.24), 0.1, tilt)
    )
    eye = Fill((0.45, 0.95, 0.98), depth=0, line=0.2)
    slope = tilt * 0.2
    art.paint(eye, circle((-0.14, 0.60 - slope), 0.095), circle((0.20, 0.60 + slope), 0.095))
    art.paint(eye, limb((0.03 - mouth, 0.40 - slope), (0.03 + mouth, 0.40 + slope), 0.035))
    return Anchors((0.0, -0.32, 0.24), (-tilt * 0.4, 0.88), 0.56)


def mushroom(art: Art) -> Anchors:
    """Draw a mushroom; traits: cap width, cap height, stem, ring, grass, leaning stem."""
    wide, high = art.trait(0, 0.66, 0.84), art.trait(1, 0.64, 0.88)
    stem, skirt = art.trait(2, 0.20, 0.30), art.trait(3, 0.28, 0.40)
    grass, lean = art.trait(4, 0.14, 0.34), art.trait(5, -0.14, 0.14)
    art.paint(CREAM, limb((0, -0.74), (lean, 0.0), (stem + 0.06, stem - 0.02)))
    art.paint(CREAM, ellipse((lean * 0.7, -0.22), (skirt, 0.10)))
    under = ellipse((lean, -0.02), (wide - 0.08, 0.16))
    art.paint(art.trim, under)
    sky = box((lean, 1.0), (2, 1.06))
    art.paint(art.main, within(ellipse((lean, 0.0), (wide, high)), sky))
    for x in (-0.42, -0.32, 0.34, 0.46):
        art.paint(LEAF, limb((x, -0.94), (x * 1.25, -0.94 + grass), (0.06, 0.02)))
    return Anchors((lean, high * 0.42, 0.24), (lean, high - 0.02), 0.52)


def flower(art: Art) -> Anchors:
    """Draw a potted flower; traits: petals, petal length, center, pot, leaves, leaning stem."""
    count, long = round(art.trait(0, 4.6, 8.4)), art.trait(1, 0.26, 0.34)
    heart, pot = art.trait(2, 0.16, 0.23), art.trait(3, 0.32, 0.46)
    leaf, lean = art.trait(4, 0.20, 0.32), art.trait(5, -0.18, 0.18)
    middle = (lean, 0.40)
    stem = Fill(mixed(LEAF.colour, (0, 0, 0), 0.15))
    art.paint(stem, limb((0, -0.55), (lean, 0.3), 0.055))
    art.paint(LEAF, ellipse((-0.26, -0.24), (leaf, 0.11), -0.5))
    art.paint(LEAF, ellipse((0.28, -0.14), (leaf, 0.11), 0.5))
    for place in range(count):
        turn = 2 * pi * place / count + 0.3
        centre = (middle[0] + cos(turn) * 0.32, middle[1] + sin(turn) * 0.32)
        art.paint(art.main, ellipse(centre, (long, min(0.9 / count + 0.07, 0.24)), turn))
    art.paint(art.trim, circle(middle, heart))
    art.paint(
        art.trim,
        polygon(((-pot, -0.52), (pot, -0.52), (pot * 0.7, -0.94), (-pot * 0.7, -0.94)), 0.04),
    )
    art.paint(art.bare, box((0, -0.54), (pot + 0.08, 0.09), 0.05))
    return Anchors((0.0, -0.76, 0.17), (lean, 0.96), 0.44)


def backpack(art: Art) -> Anchors:
    """Draw a backpack from the front; traits: width, roundness, pocket, flap, straps, slack."""
    wide, round_ = art.trait(0, 0.52, 0.64), art.trait(1, 0.26, 0.48)
    pocket, flap = art.trait(2, 0.30, 0.42), art.trait(3, 0.16, 0.34)
    strap, slack = art.trait(4, 0.06, 0.10), art.trait(5, 0.0, 0.12)
    dark = Fill(mixed(art.look.second_colour, (0.1, 0.08, 0.12), 0.35))
    for side in (-1, 1):
        art.paint(dark, limb((side * 0.4, 0.3), (side * (wide + 0.16), -0.10), strap + 0.03))
        art.paint(dark, limb((side * (wide + 0.16), -0.10), (side * 0.5, -0.80), strap + 0.02))
    art.paint(dark, ring((0, 0.74 + slack), (0.20, 0.18), 0.055))
    art.paint(art.main, box((0, -0.08), (wide, 0.86), round_))
    lid = within(box((0, 0.0), (wide + 0.02, 0.80), round_), box((0, 1.2), (2, 1.2 - flap)))
    art.paint(art.bare, lid)
    art.paint(art.trim, limb((-wide + 0.06, flap), (wide - 0.06, flap), 0.045))
    art.paint(art.trim, box((0, -0.56), (pocket + 0.08, 0.32), 0.14))
    art.paint(dark, limb((-pocket + 0.06, -0.38), (pocket - 0.06, -0.38), 0.035))
    gold = Fill((0.95, 0.78, 0.30))
    art.paint(gold, limb((0.1 + slack, -0.38), (0.1 + slack, -0.50), 0.045))
    art.paint(gold, box((0, flap - 0.02), (0.09, 0.12), 0.03))
    return Anchors((0.0, 0.44, 0.20), (-0.34, 0.66), 0.64)
