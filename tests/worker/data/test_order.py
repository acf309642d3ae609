"""Which images a step sees, with one concept and with several."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from trainer.config.optimization import TrainingConfig
from trainer.worker.data.batches import step_batches
from trainer.worker.data.image_sets import Concept, ImageSet, TrainingImage
from trainer.worker.data.order import Share, picks, turn


def images(prompt: str, number: int, side: int = 8) -> list[TrainingImage]:
    sizes = (8 * side,) * 2
    return [
        TrainingImage(torch.zeros(4, side, side), f"{prompt} {i}", (*sizes, 0, 0, *sizes))
        for i in range(number)
    ]


def concept(name: str, number: int, num_classes: int = 0, turns: int = 1) -> Concept:
    sets = [ImageSet(name, images(name, number))]
    if num_classes:
        sets.append(ImageSet(f"{name} class", images(f"{name} class", num_classes), True, 0.5))
    return Concept(sets, turns)


def prompts(concepts: list[Concept], window: int, batch_size: int = 1) -> list[str]:
    found = picks(concepts, 0, window, batch_size=batch_size, share=Share())
    return [pick.image.prompt for pick in found]


@pytest.mark.parametrize("weights", [(1,), (1, 1), (2, 1), (3, 2, 1), (1, 1000)])
def test_turns_are_shared_by_weight_and_counted_without_gaps(weights):
    total = 3 * sum(weights)
    found = [turn(weights, position) for position in range(total)]
    assert Counter(index for index, _ in found) == {i: 3 * w for i, w in enumerate(weights)}
    for index in range(len(weights)):
        assert [before for i, before in found if i == index] == list(range(3 * weights[index]))


def test_turns_are_spread_evenly():
    assert [turn((2, 1), position)[0] for position in range(6)] == [0, 1, 0, 0, 1, 0]


def test_an_epoch_of_every_concept_shows_each_of_its_images_once():
    concepts = [concept("cat", 3, turns=2), concept("dog", 4)]
    seen = [prompt for window in range(12) for prompt in prompts(concepts, window)]
    assert Counter(seen) == {
        **{f"cat {i}": 8 // 3 + (i in missing_third(seen)) for i in range(3)},
        **{f"dog {i}": 1 for i in range(4)},
    }


def missing_third(seen: list[str]) -> set[int]:
    """The two images of three that eight turns show three times."""
    counts = Counter(seen)
    return {i for i in range(3) if counts[f"cat {i}"] == 3}


def test_class_images_come_from_the_concept_whose_turn_it_is():
    concepts = [concept("cat", 2, num_classes=2), concept("dog", 2)]
    for window in range(6):
        found = prompts(concepts, window)
        assert len(found) == (2 if window % 2 == 0 else 1)
        assert all(text.startswith("cat" if window % 2 == 0 else "dog") for text in found)


def test_one_concept_among_several_sees_what_it_would_alone():
    alone = [p for window in range(6) for p in prompts([concept("cat", 3)], window)]
    both = [concept("cat", 3), concept("dog", 3)]
    shared = [p for window in range(12) for p in prompts(both, window) if p.startswith("cat")]
    assert shared == alone


def test_an_image_weighs_its_sets_weight_and_class_images_are_marked():
    training = TrainingConfig(train_batch_size=2)
    (batch,) = step_batches([concept("cat", 3, num_classes=3)], training, 0)
    assert batch.loss_weight.tolist() == [0.5, 0.5, 0.25, 0.25]
    assert batch.is_class.tolist() == [False, False, True, True]
    assert batch.to_base is None


def test_only_images_whose_target_is_the_base_are_marked_for_it():
    sets = [ImageSet("a", images("a", 2)), ImageSet("b", images("b", 2), True, 1.0, "base")]
    (batch,) = step_batches([Concept(sets)], TrainingConfig(), 0)
    assert batch.to_base is not None and batch.to_base.tolist() == [False, True]
