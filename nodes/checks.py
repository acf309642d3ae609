"""What a queued graph shows to be wrong with a training, before the first class image is begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..trainer.errors import ConfigError
from ..trainer.model_files.families import Family
from .graph import Prompt, link_of
from .presets import require_family

__all__ = ["check_prompts", "check_trainings", "require_same_class"]

TRAIN, PHOTOS = "DreamBoothTrain", "DreamBoothLoadInstanceImages"


def check_trainings(prompt: Prompt, node: str, class_prompt: str, family: Family | None) -> None:
    """Refuse class images for trainings that would be refused after them.

    Args:
        node: the id of Generate Class Images in the graph.
        class_prompt: what its images show.
        family: of the model on its wire; None if it cannot be trained.

    Raises:
        ConfigError: names the two values that do not fit.
    """
    for train in trainings(prompt, node):
        preset = prompt[train]["inputs"].get("preset")
        if isinstance(preset, str):
            require_family(preset, family)
        subjects = photo_nodes(prompt, train)
        require_same_class(
            class_prompt, [prompt[name]["inputs"].get("class_prompt") for name in subjects]
        )


def trainings(prompt: Prompt, node: str) -> Iterator[str]:
    """Yield the training nodes that a node's class images go to."""
    for name, found in prompt.items():
        link = link_of(prompt, name, "class_set") if found["class_type"] == TRAIN else None
        if link is not None and link.node == node:
            yield name


def photo_nodes(prompt: Prompt, train: str) -> Iterator[str]:
    """Yield the nodes with the photos of a training, the last one in the graph first."""
    seen = {train}  # a graph from elsewhere may go in circles
    link = link_of(prompt, train, "instance_set")
    while link is not None and link.node not in seen:
        seen.add(link.node)
        if prompt.get(link.node, {}).get("class_type") != PHOTOS:
            return
        yield link.node
        link = link_of(prompt, link.node, "instance_set")


def require_same_class(class_prompt: str, wanted: Sequence[object]) -> None:
    """Refuse class images that show the class of no photos, as far as the prompts are known.

    Args:
        wanted: each subject's class prompt; one that is no text comes over a wire.

    Raises:
        ConfigError: names two prompts that differ.
    """
    texts = [text for text in wanted if isinstance(text, str)]
    if len(texts) < len(wanted) or not any(texts):
        return
    if any(same_text(text, class_prompt) for text in texts):
        return
    raise ConfigError(
        f"Generate Class Images has the class prompt {class_prompt!r:.200}, Load Instance Images "
        f"{texts[0]!r:.200}.",
        "Connect its instance set to Generate Class Images: then both use the same prompt.",
    )


def check_prompts(instance_prompt: str, class_prompt: str) -> None:
    """Refuse an instance prompt without a rare word.

    Raises:
        ConfigError: it is the class prompt.
    """
    if instance_prompt.strip() and same_text(instance_prompt, class_prompt):
        raise ConfigError(
            f"The instance prompt and the class prompt are both {class_prompt!r:.200}.",
            'Add a rare word to the instance prompt, as in "a photo of sks dog".',
        )


def same_text(first: str, second: str) -> bool:
    """Whether two prompts differ in capitals and spaces alone."""
    return first.lower().split() == second.lower().split()
