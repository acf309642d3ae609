"""The words of the synthetic data: classes, colors, textures, places, lights, their phrases."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BACKGROUNDS",
    "BACKGROUND_PHRASES",
    "CLASSES",
    "COLOURS",
    "FACINGS",
    "LIGHTS",
    "LIGHT_PHRASES",
    "RGB",
    "TEMPLATES",
    "TEXTURES",
    "TURNING",
    "words",
]

RGB = tuple[float, float, float]  # red, green, blue, 0 to 1

CLASSES: tuple[str, ...] = (
    *("dog", "cat", "rabbit", "duck", "fish", "turtle"),
    *("car", "boat", "house", "cup", "teapot", "lamp"),
    *("robot", "mushroom", "flower", "backpack", "rocket"),
)
COLOURS: Mapping[str, RGB] = {
    "red": (0.86, 0.18, 0.16),
    "orange": (0.96, 0.53, 0.12),
    "yellow": (0.98, 0.82, 0.20),
    "green": (0.28, 0.64, 0.30),
    "blue": (0.18, 0.42, 0.86),
    "purple": (0.50, 0.27, 0.70),
    "pink": (0.97, 0.58, 0.73),
    "brown": (0.50, 0.31, 0.18),
    "black": (0.14, 0.14, 0.16),
    "white": (0.96, 0.95, 0.93),
    "gray": (0.58, 0.60, 0.63),
}
TEXTURES: tuple[str, ...] = ("plain", "striped", "dotted", "checked", "wavy")

# where an object is | the same place in an image without an object
BACKGROUND_PHRASES: Mapping[str, tuple[str, str]] = {
    "beach": ("on a beach", "a beach"),
    "snow": ("in the snow", "snow"),
    "forest": ("in a forest", "a forest"),
    "night": ("at night", "a night sky"),
    "desert": ("in the desert", "the desert"),
    "city": ("in a city", "a city"),
    "kitchen": ("in a kitchen", "a kitchen"),
    "meadow": ("in a meadow", "a meadow"),
    "sea": ("by the sea", "the sea"),
    "mountains": ("in the mountains", "mountains"),
    "room": ("in a room", "a room"),
    "space": ("in space", "space"),
    "sunset": ("at sunset", "a sunset"),
    "rain": ("in the rain", "rain"),
    "autumn": ("in an autumn park", "an autumn park"),
    "underwater": ("under water", "water"),
}
BACKGROUNDS: tuple[str, ...] = tuple(BACKGROUND_PHRASES)

# factors for red, green and blue; ordinary light is not mentioned in captions
LIGHTS: Mapping[str, RGB] = {
    "day": (1.0, 1.0, 1.0),
    "warm": (1.10, 0.98, 0.80),
    "cool": (0.82, 0.96, 1.12),
    "bright": (1.15, 1.15, 1.13),
    "dim": (0.68, 0.68, 0.74),
}
LIGHT_PHRASES: Mapping[str, str] = {
    name: "" if name == "day" else f"in {name} light" for name in LIGHTS
}
TEMPLATES: tuple[str, ...] = ("a photo of", "a photo of", "a picture of", "an illustration of", "")
FACINGS: Mapping[int, str] = {1: "facing right", -1: "facing left"}
TURNING: frozenset[str] = frozenset(  # classes with a recognizable front
    {"dog", "duck", "fish", "turtle", "car", "boat", "teapot"}
)
SIZES: tuple[str, ...] = ("small", "big")


def words() -> list[str]:
    """Return every word and mark that captions may contain, sorted; each is one CLIP token."""
    places = (phrase for pair in BACKGROUND_PHRASES.values() for phrase in pair)
    phrases = [*places, *LIGHT_PHRASES.values(), *TEMPLATES, *FACINGS.values(), "a an and ,"]
    spoken = {word for phrase in phrases for word in phrase.split()}
    return sorted({*spoken, *CLASSES, *COLOURS, *TEXTURES, *SIZES})
