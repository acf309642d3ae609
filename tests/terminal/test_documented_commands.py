"""Every command that the documentation shows is read by the real parsers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreambooth import COMMANDS
from trainer.config.config import Config
from trainer.terminal.cli import make_parser, run_train, train_values

PACK = Path(__file__).parents[2]
PAGES = [PACK / "README.md", *sorted((PACK / "docs").glob("*.md"))]
PAGES += sorted((PACK / "web" / "docs").glob("*.md"))
START = re.compile(
    r"(?:^|[\s`/])python (?:-m trainer|dreambooth\.py) ([a-z-]+[^`\n]*)", re.MULTILINE
)


def documented() -> Iterator[tuple[str, str]]:
    """Yield each page's name with each of its commands, without "python dreambooth.py"."""
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text("utf-8"))
        for command in START.findall(text):
            yield page.name, command


FOUND = list(documented())


def test_the_commands_are_found():
    names = {name for name, _ in FOUND}
    assert {"README.md", "recipes.md", "guide.md", "distributed.md"} <= names
    assert {command.split()[0] for _, command in FOUND} >= {"train", "plan", "sample", "demo"}


@pytest.mark.parametrize(("page", "command"), FOUND)
def test_a_documented_command_is_read(page: str, command: str) -> None:
    name, *rest = shlex.split(command.partition(" >")[0], comments=True)
    assert name in COMMANDS
    if name == "test" or rest in (["FILE"], []):
        return
    if "--help" in rest or "--help-all" in rest:
        with pytest.raises(SystemExit):
            make_parser().parse_args([name, *rest])
        return
    options = make_parser().parse_args([name, *rest])
    if options.execute is run_train and options.config is None and "--resume" not in rest:
        assert Config.from_values(train_values(options))
