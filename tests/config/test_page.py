"""The page of all settings is current and complete."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.config.config import Config, all_settings
from trainer.config.page import settings_page
from trainer.config.presets import PRESETS
from trainer.terminal.cli import make_parser, run_train, train_values

PACK = Path(__file__).parents[2]
RECIPES = (PACK / "docs/recipes.md").read_text("utf-8")
RENEW = "run: python -m trainer.config.page > docs/settings.md"


def test_the_page_is_current():
    assert (PACK / "docs/settings.md").read_text("utf-8") == settings_page(), RENEW


def test_the_command_writes_it_as_it_is():
    command = [sys.executable, "-m", "trainer.config.page"]
    done = subprocess.run(command, cwd=PACK, capture_output=True, check=True)
    assert done.stdout == settings_page().encode()


def test_every_setting_and_preset_is_a_row():
    rows = [line for line in settings_page().splitlines() if line.startswith("| ")]
    names = [row.split("|")[1].strip(" *`") for row in rows]
    for name in (*(spec.name for _, spec in all_settings()), *PRESETS):
        assert names.count(name) == 1, name
    for line in rows:
        columns = line.replace("\\|", "").count("|") - 1
        assert columns == (3 if line.split("|")[1].strip(" `") in {*PRESETS, "preset"} else 4), line


@pytest.mark.parametrize("command", ["--preset " + name for name in PRESETS])
def test_every_recipe_is_a_command(command):
    assert command in RECIPES


@pytest.mark.parametrize("line", [line for line in RECIPES.splitlines() if "dreambooth.py" in line])
def test_a_commands_flags_and_values_are_read(line):
    options = make_parser().parse_args(shlex.split(line)[2:])
    if options.execute is run_train:
        assert Config.from_values(train_values(options)).has_class_images == ("class" in line)
