"""What training did to the model, in figures, from images of a subject that is known exactly.

Which individual an image shows is decided in a line-up: the subject among 23 other unusual
individuals of its class, each represented by the mean identity of some views. Chance is 1 in 24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..minisd.dataset import to_pixels
from ..minisd.probe import FACTS, Probe, Seen
from ..minisd.render import render
from ..minisd.scene import Look
from ..minisd.subject import subject, view_of

__all__ = ["MEANINGS", "Measures", "Pictures", "arrays", "measure", "said", "share"]

NUM_OTHERS, NUM_VIEWS, NUM_HELD_OUT = 23, 12, 60
OTHERS_SEED = 900_000  # of individuals that nothing was trained on
THUMBNAIL_PX = 16


@dataclass(frozen=True)
class Pictures:
    """The images to measure.

    Args:
        subject: of the trigger prompt in a place; `places` are those asked for.
        class_noun: of the bare class noun.
        others: of other class nouns; `other_nouns` are those asked for.
        coloured: of the trigger prompt with a color; `colours` are those asked for.
        photos: the training photos.
    """

    subject: Sequence[Image.Image]
    places: Sequence[str]
    class_noun: Sequence[Image.Image]
    others: Sequence[Image.Image]
    other_nouns: Sequence[str]
    coloured: Sequence[Image.Image]
    colours: Sequence[str]
    photos: Sequence[Image.Image]


MEANINGS = {
    "fidelity": "trigger prompt: images recognized as the subject in the line-up",
    "likeness": "trigger prompt: mean cosine similarity to the subject",
    "prompt_accuracy": "trigger prompt: images that show the class in the requested place",
    "success": "trigger prompt: images that show the subject in the requested place",
    "colour_accuracy": "trigger prompt with a color: images that show this color",
    "language_drift": "bare class noun: images recognized as the subject",
    "class_accuracy": "bare class noun: images that show the class",
    "diversity": "bare class noun: mean distance (1 - cosine) between images",
    "leakage": "other class nouns: mean cosine similarity to the subject",
    "others_accuracy": "other class nouns: images that show their class",
    "copying": "trigger prompt: images that are closer to a photo than 95 % of the subject's "
    "other views are",
}


@dataclass(frozen=True)
class Measures:
    """Shares of images from 0 to 1, and cosine similarities; `MEANINGS` describes each."""

    fidelity: float
    likeness: float
    prompt_accuracy: float
    success: float
    colour_accuracy: float
    language_drift: float
    class_accuracy: float
    diversity: float
    leakage: float
    others_accuracy: float
    copying: float

    def to_dict(self) -> dict[str, float]:
        """Return the rounded measures by name."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


class LineUp:
    """The subject among others of its class, as row 0."""

    def __init__(self, probe: Probe, look: Look) -> None:
        others = [subject(look.class_noun, OTHERS_SEED + i) for i in range(NUM_OTHERS)]
        self.views = views(look, NUM_HELD_OUT, seed=0)
        rows = [self.views[:NUM_VIEWS], *(views(other, NUM_VIEWS, seed=0) for other in others)]
        means = [probe(to_pixels(images)).identity.mean(0) for images in rows]
        self.identities = F.normalize(torch.stack(means), dim=1)  # (1 + NUM_OTHERS, E)

    def likeness(self, identity: Tensor) -> Tensor:
        """Return the cosine similarity to the subject, (B,)."""
        return identity @ self.identities[0]

    def recognised(self, identity: Tensor) -> Tensor:
        """Return whether the subject is the most similar, (B,)."""
        return (identity @ self.identities.T).argmax(1) == 0


make_line_up = cache(LineUp)  # its views take seconds to render


def views(look: Look, number: int, seed: int) -> NDArray[np.uint8]:
    """Return views that no training used, (N, H, W, 3)."""
    rng = np.random.Generator(np.random.PCG64((OTHERS_SEED, seed)))
    return np.stack([render(view_of(look, rng)).image for _ in range(number)])


@torch.no_grad()
def measure(probe: Probe, look: Look, pictures: Pictures) -> Measures:
    """Return the measures of a model's images."""
    line_up = make_line_up(probe, look)
    shown, nouns, others, coloured = (
        probe(to_pixels(arrays(group)))
        for group in (pictures.subject, pictures.class_noun, pictures.others, pictures.coloured)
    )
    in_place = said(shown, "background", pictures.places)
    as_class = said(shown, "class", [look.class_noun] * len(pictures.subject))
    recognised = line_up.recognised(shown.identity)
    return Measures(
        fidelity=share(recognised),
        likeness=line_up.likeness(shown.identity).mean().item(),
        prompt_accuracy=share(in_place & as_class),
        success=share(recognised & in_place & as_class),
        colour_accuracy=share(said(coloured, "colour", pictures.colours)),
        language_drift=share(line_up.recognised(nouns.identity)),
        class_accuracy=share(said(nouns, "class", [look.class_noun] * len(pictures.class_noun))),
        diversity=diversity(nouns.identity),
        leakage=line_up.likeness(others.identity).mean().item(),
        others_accuracy=share(said(others, "class", pictures.other_nouns)),
        copying=copying(pictures, line_up.views),
    )


def arrays(pictures: Sequence[Image.Image]) -> NDArray[np.uint8]:
    """Return images as one array, (N, H, W, 3)."""
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])


def said(seen: Seen, fact: str, wanted: Sequence[str]) -> Tensor:
    """Return whether the probe sees what was asked for, (B,)."""
    options = FACTS[fact]
    return seen.facts[fact].argmax(1) == torch.tensor([options.index(name) for name in wanted])


def share(flags: Tensor) -> float:
    """Return the share of flags that are set."""
    return flags.float().mean().item()


def diversity(identity: Tensor) -> float:
    """Return the mean of 1 - cosine over all pairs."""
    count = len(identity)
    alike = (identity @ identity.T).sum().item() - count
    return 1 - alike / (count * (count - 1))


def copying(pictures: Pictures, held_out: NDArray[np.uint8]) -> float:
    """Return the share of images that are closer to a photo than 95 % of held-out views are."""
    photos = thumbnails(arrays(pictures.photos))
    nearest = torch.cdist(thumbnails(held_out), photos).amin(1)
    drawn = torch.cdist(thumbnails(arrays(pictures.subject)), photos).amin(1)
    return share(drawn < nearest.quantile(0.05))


def thumbnails(images: NDArray[np.uint8]) -> Tensor:
    """Return small versions of images as vectors, (N, 3 * THUMBNAIL_PX ** 2)."""
    return F.interpolate(to_pixels(images), size=(THUMBNAIL_PX,) * 2, mode="area").flatten(1)
