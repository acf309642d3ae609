"""Class sets on disk: what is missing is made once, by one process at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.files.test_lock import FORMER, hold, kill
from trainer.photos.class_set import ClassSet, make_missing, set_settings

SETTINGS = {"class_prompt": "a photo of a dog", "seed": 3}


def complete(images: ClassSet, count: int, waiting=pytest.fail) -> list[int]:
    """Make what is missing, empty files; the indices of those that were made."""
    made: list[int] = []

    def make(missing: Sequence[int]) -> None:
        assert set_settings(images.folder) == images.settings
        for index in missing:
            images.path(index).touch()
            made.append(index)

    make_missing(images, count, check=lambda: None, waiting=waiting, make=make)
    return made


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    images = ClassSet(tmp_path / "set", SETTINGS)
    assert complete(images, 2) == [0, 1]
    images.path(0).unlink()
    assert complete(images, 4) == [0, 2, 3]
    assert complete(images, 4) == []


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    images = ClassSet(tmp_path, SETTINGS)
    kill(hold(tmp_path / "lock"))
    (tmp_path / f".{FORMER}-1.partial").touch()
    (tmp_path / ".other-2.partial").touch()  # of a process that writes here without the lock
    complete(images, 1)
    assert [path.name for path in tmp_path.glob(".*.partial")] == [".other-2.partial"]


def test_the_images_of_another_process_are_counted_while_it_makes_them(tmp_path: Path) -> None:
    images = ClassSet(tmp_path, SETTINGS)
    process = hold(tmp_path / "lock")
    counts: list[int] = []

    def waiting(done: int) -> None:
        counts.append(done)
        images.path(done).touch()  # in its place: it only holds the lock
        if done == 1:
            process.kill()

    assert complete(images, 3, waiting) == [2]
    process.communicate()
    assert counts == [0, 1]
