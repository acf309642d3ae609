"""Render a scene: background, shadow, object, light."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from . import animals, elsewhere, outdoors, things, vehicles
from .art import Anchors, Art
from .canvas import Canvas, Pose
from .names import LIGHTS
from .odd_parts import add_odd_part
from .scene import Look, Scene, View
from .scenery import Scenery
from .shapes import Plane

__all__ = ["DRAWINGS", "PLACES", "Picture", "render"]

SHADOW = 0.42  # how dark the ground under an object is
AFLOAT = frozenset({"space"})  # places without ground

DRAWINGS: Mapping[str, Callable[[Art], Anchors]] = {
    "dog": animals.dog,
    "cat": animals.cat,
    "rabbit": animals.rabbit,
    "duck": animals.duck,
    "fish": animals.fish,
    "turtle": animals.turtle,
    "car": vehicles.car,
    "boat": vehicles.boat,
    "house": vehicles.house,
    "cup": things.cup,
    "teapot": things.teapot,
    "lamp": things.lamp,
    "robot": things.robot,
    "mushroom": things.mushroom,
    "flower": things.flower,
    "backpack": things.backpack,
    "rocket": vehicles.rocket,
}
PLACES: Mapping[str, Callable[[Scenery], None]] = {
    "beach": outdoors.beach,
    "snow": outdoors.snow,
    "forest": outdoors.forest,
    "night": elsewhere.night,
    "desert": outdoors.desert,
    "city": outdoors.city,
    "kitchen": elsewhere.kitchen,
    "meadow": outdoors.meadow,
    "sea": outdoors.sea,
    "mountains": outdoors.mountains,
    "room": elsewhere.room,
    "space": elsewhere.space,
    "sunset": elsewhere.sunset,
    "rain": elsewhere.rain,
    "autumn": outdoors.autumn,
    "underwater": elsewhere.underwater,
}


@dataclass(frozen=True)
class Picture:
    """A rendered scene.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) float32, the share of each pixel that the object covers.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.float32]


def render(scene: Scene, side: int = 128) -> Picture:
    """Render a scene; equal scenes result in equal bytes."""
    view = scene.view
    picture = background(view, side)  # (3, side, side)
    if scene.look is None:
        return Picture(finished(picture, view), np.zeros((side, side), np.float32))
    canvas, anchors = draw_object(scene.look, view, side)
    if view.background not in AFLOAT:
        picture *= 1 - SHADOW * shadow(view, anchors, side)
    picture = canvas.rgb + picture * (1 - canvas.alpha)
    return Picture(finished(picture, view), canvas.alpha)


def background(view: View, side: int) -> NDArray[np.float32]:
    """Return the place without an object, (3, side, side)."""
    canvas = Canvas(side, Pose())
    rng = np.random.Generator(np.random.PCG64(view.background_seed))
    PLACES[view.background](Scenery(canvas, rng))
    return canvas.rgb


def draw_object(look: Look, view: View, side: int) -> tuple[Canvas, Anchors]:
    """Draw the object on a transparent canvas, tilted around the point that it stands on."""
    half = view.scale / 2
    foot_to_middle = (half * sin(view.angle), -half * cos(view.angle))
    origin = (view.x + foot_to_middle[0], view.y + half + foot_to_middle[1])
    pose = Pose(origin, half, view.angle, view.facing, upwards=True)
    light = (sin(view.light_angle), -cos(view.light_angle))
    art = Art(Canvas(side, pose, light), look)
    anchors = DRAWINGS[look.class_noun](art)
    add_odd_part(art, anchors)
    return art.canvas, anchors


def shadow(view: View, anchors: Anchors, side: int) -> Plane:
    """Return a soft spot on the ground, away from the light: (side, side), 0 to 1."""
    half = view.scale / 2
    across = np.float32(half * (anchors.foot + 0.16))
    x = view.x - 0.10 * half * sin(view.light_angle)
    grid = (np.arange(side, dtype=np.float32) + 0.5) / side
    p = (grid - np.float32(x)) / across
    q = (grid - np.float32(view.y + half * 0.97)) / (across * 0.26)
    reach = np.sqrt(p[None, :] ** 2 + q[:, None] ** 2)
    soft = np.clip(1.25 - reach, 0, 1) * np.float32(1 - anchors.lift)
    return soft * soft * (3 - 2 * soft)


def finished(picture: NDArray[np.floating], view: View) -> NDArray[np.uint8]:
    """Apply the view's light; return uint8 pixels, (side, side, 3)."""
    gains = np.asarray(LIGHTS[view.light], np.float32)[:, None, None] * 255
    levels = np.clip(picture * gains + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))
