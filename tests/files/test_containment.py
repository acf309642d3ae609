"""Paths below folders that may be read, by their text and after following links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.files.containment import first_outside, is_below


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    (folder / "in").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to("loop")
    (tmp_path / "way_in").symlink_to(folder / "in")
    return folder


@pytest.mark.parametrize("name", [".", "in", "in/../in/a.png", "missing", "../allowed/in", "loop"])
def test_a_path_that_stays_below_is_below(allowed, name):
    assert is_below(allowed / name, [allowed.parent / "nowhere", allowed])


@pytest.mark.parametrize(
    "name",
    ["..", "out", "out/a.png", "../secret", "in/../../secret", "../allowed2", "a\0b", "\ud800"],
)
def test_a_path_that_leaves_is_not(allowed, name):
    assert not is_below(allowed / name, [allowed])
    assert first_outside([allowed / "in", allowed / name], [allowed]) == allowed / name


def test_a_link_from_elsewhere_does_not_help_and_a_folder_may_be_a_link(allowed):
    assert not is_below(allowed.parent / "way_in", [allowed])
    assert is_below(allowed.parent / "way_in" / "a.png", [allowed.parent / "way_in"])
    assert is_below(allowed / "in", [allowed.parent / "way_in"])


def test_nothing_is_below_no_folder(allowed):
    assert not is_below(allowed, [])


def test_a_path_whose_text_leads_elsewhere_is_not_touched(allowed, monkeypatch):
    asked: list[str] = []
    real = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: (asked.append(str(path)), real(path))[1])
    assert not is_below(allowed / "../secret", [allowed])
    assert asked == [str(allowed)]
