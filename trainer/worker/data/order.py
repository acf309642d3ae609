"""Which images a step sees: a pure function of the seed and the position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ..randomness import shuffled
from .image_sets import Concept, ImageSet, TrainingImage

__all__ = ["Pick", "Share", "picks"]


@dataclass(frozen=True)
class Share:
    """Which part of every step's images one process computes."""

    rank: int = 0
    num_processes: int = 1


@dataclass(frozen=True)
class Pick:
    """One image of a step.

    Args:
        images: the set that it was picked from.
        position: counts the images that were picked from the set, from 0; with the set's name it
            decides the image's noise.
    """

    image: TrainingImage
    images: ImageSet
    position: int


def picks(
    concepts: Sequence[Concept], seed: int, window: int, *, batch_size: int, share: Share
) -> Iterator[Pick]:
    """Yield the images of one forward window of one process.

    First come the first images of every turn, those of the subject, then the second ones.

    Args:
        window: counts forward windows from 0: step * gradient_accumulation_steps + i.
        batch_size: turns in a window.
    """
    first = (window * share.num_processes + share.rank) * batch_size
    weights = tuple(concept.turns for concept in concepts)
    turns = [turn(weights, position) for position in range(first, first + batch_size)]
    for place in range(max(len(concept.sets) for concept in concepts)):
        for index, position in turns:
            if place < len(concepts[index].sets):
                yield pick(concepts[index].sets[place], position, seed)


def pick(images: ImageSet, position: int, seed: int) -> Pick:
    """Return the image at a position of a set; each epoch is a fresh permutation."""
    index = shuffled(len(images.images), position, seed, images.name)
    return Pick(images.images[index], images, position)


def turn(weights: tuple[int, ...], position: int) -> tuple[int, int]:
    """Return whose turn a position is, and how many turns that concept had before."""
    rounds, place = divmod(position, sum(weights))
    order = one_round(weights)
    index = order[place]
    return index, rounds * weights[index] + order[:place].count(index)


@cache
def one_round(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Return a round in which each index occurs as often as its weight, spread evenly."""
    credit = [0] * len(weights)
    order: list[int] = []
    for _ in range(sum(weights)):
        credit = [have + weight for have, weight in zip(credit, weights, strict=True)]
        index = credit.index(max(credit))
        credit[index] -= sum(weights)
        order.append(index)
    return tuple(order)
