"""The settings that shape class images, completing a set, and the report on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..trainer.config.concept import PriorConfig
from ..trainer.photos.class_set import SETTINGS_FILE, ClassSet, make_missing, set_settings

__all__ = ["complete", "report_text", "shaping_settings"]


def shaping_settings(
    prior: PriorConfig, base: Mapping[str, Any], sampler: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that shapes class images, except their number."""
    return {
        **base,
        **sampler,
        "class_prompt": prior.class_prompt,
        "negative_prompt": prior.class_negative_prompt,
        "seed": prior.class_seed,
    }


def complete(
    images: ClassSet,
    count: int,
    *,
    check: Callable[[], None],
    show: Callable[[str], None],
    make: Callable[[Sequence[int]], None],
) -> None:
    """Generate the missing images of a set; wait if another process is generating them.

    Args:
        check: raises if the user canceled.
        show: shows a line of text under the node.
        make: generates the images with these indices.
    """
    text = "Waiting for another process to generate these class images"
    make_missing(
        images,
        count,
        check=check,
        waiting=lambda done: show(f"{text}: {done} of {count}"),
        make=make,
    )


def report_text(images: ClassSet, count: int) -> str:
    """Return how many images are reused, and why an older set cannot be."""
    new = len(images.missing(count))
    lines = [f"{count} class images: {count - new} reused, {new} new"]
    changed = changed_settings(images) if new == count else []
    if changed:
        lines.append(f"An older set for this prompt differs in {', '.join(changed)}.")
    return "\n".join(lines)


def changed_settings(images: ClassSet) -> list[str]:
    """Return which settings differ from the newest other set with the same class prompt."""
    others = [path for path in other_sets(images) if same_prompt(path, images)]
    if not others:
        return []
    before = set_settings(max(others, key=lambda path: path.stat().st_mtime)) or {}
    names = sorted({*before, *images.settings})
    return [name for name in names if before.get(name) != images.settings.get(name)]


def other_sets(images: ClassSet) -> list[Path]:
    folders = (file.parent for file in images.folder.parent.glob(f"*/{SETTINGS_FILE}"))
    return [folder for folder in folders if folder != images.folder]


def same_prompt(folder: Path, images: ClassSet) -> bool:
    settings = set_settings(folder) or {}
    return settings.get("class_prompt") == images.settings["class_prompt"]
