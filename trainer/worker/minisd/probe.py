"""The classifier: what an image shows, and whether two images show the same individual.

Legend: B images, H W pixels, E width of an identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..base.shipped import WEIGHTS, checked_digest
from .names import BACKGROUNDS, CLASSES, COLOURS, TEXTURES
from .scene import ODD_PARTS, Scene

__all__ = ["FACTS", "PROBE", "Probe", "Seen", "load_probe", "truths"]

NOTHING = "nothing"
PROBE = WEIGHTS / "probe.safetensors"
FACTS: Mapping[str, tuple[str, ...]] = {
    "class": (*CLASSES, NOTHING),
    "background": BACKGROUNDS,
    "colour": tuple(COLOURS),
    "second_colour": tuple(COLOURS),
    "texture": TEXTURES,
    "odd_part": (*ODD_PARTS, NOTHING),
}
OF_OBJECTS = ("colour", "second_colour", "texture", "odd_part")
WIDTHS = (32, 64, 128, 192)
IDENTITY = 64


def truths(scene: Scene) -> dict[str, str | None]:
    """Return the value of each fact in a scene; None if it has none, or none with a name."""
    look = scene.look
    return {
        "class": NOTHING if look is None else look.class_noun,
        "background": scene.view.background,
        "colour": scene.colour_name,
        "second_colour": scene.second_name,
        "texture": None if look is None else look.texture,
        "odd_part": None if look is None else look.odd_part or NOTHING,
    }


@dataclass(frozen=True)
class Seen:
    """The classifier's output.

    Args:
        facts: log probabilities (B, options) by fact.
        identity: (B, E) of unit length; similar for views of the same individual.
    """

    facts: Mapping[str, Tensor]
    identity: Tensor


class Probe(nn.Module):
    """A small convolutional network for 64 x 64 pixels; larger images are scaled down."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = 3
        for width in WIDTHS:
            self.stages.append(
                nn.Sequential(
                    nn.Conv2d(before, width, 3, padding=1, stride=2),
                    nn.GroupNorm(8, width),
                    nn.SiLU(),
                    nn.Conv2d(width, width, 3, padding=1),
                    nn.GroupNorm(8, width),
                    nn.SiLU(),
                )
            )
            before = width
        pooled = 2 * before  # mean and maximum
        self.facts = nn.ModuleDict({n: nn.Linear(pooled, len(o)) for n, o in FACTS.items()})
        self.identity = nn.Sequential(
            nn.Linear(pooled, before), nn.SiLU(), nn.Linear(before, IDENTITY)
        )

    def forward(self, pixels: Tensor) -> Seen:
        """Classify images (B, 3, H, W) from -1 to 1."""
        states = F.interpolate(pixels, size=(64, 64), mode="area")
        for stage in self.stages:
            states = stage(states)
        pooled = torch.cat([states.mean((2, 3)), states.amax((2, 3))], dim=1)
        facts = {name: F.log_softmax(head(pooled), dim=1) for name, head in self.facts.items()}
        return Seen(facts, F.normalize(self.identity(pooled), dim=1))


@cache
def load_probe(file: Path = PROBE) -> Probe:
    """Return the trained classifier.

    Raises:
        ConfigError: its weights are missing or damaged.
    """
    checked_digest(file)
    probe = Probe()
    probe.load_state_dict({name: value.float() for name, value in load_file(file).items()})
    return probe.eval().requires_grad_(False)
