"""Train the classifier: `python -m trainer.worker.minisd.fit_probe --work DIR`.

Half of each batch is ordinary scenes, from which it learns the facts; the other half is pairs of
views of unusual individuals, from which it learns identities (InfoNCE, arXiv 1807.03748). Some
images are slightly blurred, as by an autoencoder.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from ..base.shipped import write_weights
from .dataset import to_pixels
from .fit import Plan, fit
from .names import CLASSES
from .probe import FACTS, Probe, truths
from .render import render
from .scene import Scene, random_scene
from .subject import subject, view_of

__all__ = ["accuracy", "main"]

SEED = 7
SCENES_PER_BATCH, PAIRS_PER_BATCH = 48, 24
NUM_SCENES, NUM_INDIVIDUALS, NUM_VIEWS = 12_000, 3_400, 4  # training data
CLASSES_PER_BATCH = 4  # few, so that most pairs are compared within their class
TEMPERATURE = 0.1
PLAN = Plan(2500, 2e-3, warmup=100, averaging=200)
NUM_FRESH = 2000
FRESH, FRESH_SUBJECTS = 1_000_000, 500_000  # seeds that no training image has


@dataclass(frozen=True)
class Lessons:
    """The training images, rendered once: scenes, and views of individuals."""

    scenes: list[Scene]
    scene_images: NDArray[np.uint8]  # (N, H, W, 3)
    class_nouns: NDArray[np.str_]  # (M,) of each individual
    view_images: NDArray[np.uint8]  # (M, NUM_VIEWS, H, W, 3)


def draw_lessons() -> Lessons:
    rng = np.random.Generator(np.random.PCG64(SEED))
    scenes = [random_scene(rng) for _ in range(NUM_SCENES)]
    nouns = [CLASSES[i % len(CLASSES)] for i in range(NUM_INDIVIDUALS)]
    looks = [subject(noun, i) for i, noun in enumerate(nouns)]
    views = [[render(view_of(look, rng)).image for _ in range(NUM_VIEWS)] for look in looks]
    return Lessons(scenes, images_of(scenes), np.array(nouns), np.array(views))


def images_of(scenes: list[Scene]) -> NDArray[np.uint8]:
    return np.stack([render(scene).image for scene in scenes])


def step_loss(probe: Probe, lessons: Lessons, step: int) -> Tensor:
    rng = np.random.Generator(np.random.PCG64((SEED, step)))
    places = rng.choice(len(lessons.scenes), SCENES_PER_BATCH, replace=False)
    nouns = rng.choice(CLASSES, CLASSES_PER_BATCH, replace=False)
    known = np.flatnonzero(np.isin(lessons.class_nouns, nouns))
    people = rng.choice(known, PAIRS_PER_BATCH, replace=False)
    first = rng.integers(NUM_VIEWS, size=PAIRS_PER_BATCH)
    second = (first + rng.integers(1, NUM_VIEWS, size=PAIRS_PER_BATCH)) % NUM_VIEWS
    views = [lessons.view_images[people, view] for view in (first, second)]
    pixels = to_pixels(np.concatenate([lessons.scene_images[places], *views]))
    with torch.autocast("cpu", torch.bfloat16):
        seen = probe(softened(pixels, rng))
    scenes = [lessons.scenes[place] for place in places]
    loss = sum(fact_loss(seen.facts[fact].float(), fact, scenes) for fact in FACTS)
    return loss + identity_loss(seen.identity[SCENES_PER_BATCH:].float())


def fresh_pairs(rng: np.random.Generator) -> Tensor:
    """Return first views, then second views of individuals new to the probe, (B, 3, H, W)."""
    nouns = rng.choice(CLASSES, CLASSES_PER_BATCH, replace=False)
    seeds = rng.integers(FRESH_SUBJECTS, 2 * FRESH_SUBJECTS, PAIRS_PER_BATCH)
    looks = [subject(str(nouns[i % len(nouns)]), int(seed)) for i, seed in enumerate(seeds)]
    return to_pixels(images_of([view_of(look, rng) for _ in range(2) for look in looks]))


def softened(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Return images blurred by random amounts, with a little noise."""
    soft = F.interpolate(F.avg_pool2d(pixels, 2), scale_factor=2, mode="bilinear")
    amount = torch.from_numpy(rng.uniform(0, 1, (len(pixels), 1, 1, 1))).float()
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, np.float32))
    return pixels.lerp(soft, amount) + 0.03 * noise


def fact_loss(log_shares: Tensor, fact: str, scenes: list[Scene]) -> Tensor:
    """Return the cross entropy over the scenes that have this fact and a name for it."""
    known = [(row, truths(scene)[fact]) for row, scene in enumerate(scenes)]
    wanted = {row: FACTS[fact].index(name) for row, name in known if name is not None}
    return F.nll_loss(log_shares[list(wanted)], torch.tensor(list(wanted.values())))


def identity_loss(identity: Tensor) -> Tensor:
    """Return the InfoNCE loss: each view should be closest to its individual's other view."""
    first, second = identity.chunk(2)
    likeness = first @ second.T / TEMPERATURE
    who = torch.arange(len(first))
    return (F.cross_entropy(likeness, who) + F.cross_entropy(likeness.T, who)) / 2


@torch.no_grad()
def accuracy(probe: Probe) -> dict[str, float]:
    """Return, on new images, the share of correct facts and of individuals found again.

    An individual is found if its second view is the most similar of 24, six of its own class.
    """
    rng = np.random.Generator(np.random.PCG64(FRESH))
    right: dict[str, list[bool]] = {fact: [] for fact in (*FACTS, "identity")}
    for _ in range(NUM_FRESH // 100):
        scenes = [random_scene(rng) for _ in range(100)]
        seen = probe(to_pixels(images_of(scenes)))
        for fact, options in FACTS.items():
            said = [options[int(place)] for place in seen.facts[fact].argmax(1)]
            known = [(truths(scene)[fact], word) for scene, word in zip(scenes, said, strict=True)]
            right[fact] += [wanted == word for wanted, word in known if wanted is not None]
        first, second = probe(fresh_pairs(rng)).identity.chunk(2)
        found = (first @ second.T).argmax(1) == torch.arange(len(first))
        right["identity"] += found.tolist()
    return {fact: round(float(np.mean(hits)), 4) for fact, hits in right.items()}


def main() -> None:
    """Train, measure and write the classifier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for state and result")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    probe, lessons = Probe(), draw_lessons()
    weights = fit(
        probe, lambda s: step_loss(probe, lessons, s), PLAN, work / "probe_state.safetensors"
    )
    probe.load_state_dict(weights)
    report = accuracy(probe)
    print(json.dumps(report, indent=2))
    halves = {name: value.half() for name, value in weights.items()}
    write_weights(work / "probe.safetensors", save(halves, {"accuracy": json.dumps(report)}))


if __name__ == "__main__":
    main()
