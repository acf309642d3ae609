"""The terminal's help, and what it says to a mistyped command or flag."""

from __future__ import annotations

import pytest

from trainer.config.config import all_settings
from trainer.terminal.cli import check, main
from trainer.terminal.flags import ESSENTIAL


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    return capsys.readouterr().out


def test_help_of_train_is_short_and_help_all_has_every_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    short, whole = (shown(["train", flag], capsys) for flag in ("--help", "--help-all"))
    assert len(short.splitlines()) < 40
    required = {spec.flag for _, spec in all_settings() if spec.required}
    assert set(ESSENTIAL["required"]) == required
    assert all(flag in short for flags in ESSENTIAL.values() for flag in flags)
    assert "Example:" in short and "--help-all" in short
    assert "--rank" not in short and "usage:" not in short
    assert all(spec.flag in whole for _, spec in all_settings())


def test_the_example_of_the_help_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    example = shown(["train", "-h"], capsys).partition("Example:\n")[2].partition("\n\n")[0]
    assert check(shlex.split(example.replace("\\\n", " "))[2:]) == 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("trian", "There is no command 'trian'. Did you mean 'train'?"),
        ("train --bas x", "There is no flag --bas. Did you mean '--base'?"),
        ("train --outputs=x", "There is no flag --outputs. Did you mean '--output'?"),
        ("sample --lorra x", "There is no flag --lorra. Did you mean '--lora'?"),
        ("train --qqqq x", "There is no flag --qqqq. See dreambooth.py train --help."),
        ("train --preset fase", "--preset has no choice 'fase'. Did you mean 'face'?"),
        ("train --base", "--base: expected one argument. See dreambooth.py train --help."),
        ("train --instance-prompt a photo of sks dog", "'photo' belongs to no flag. Put a text"),
    ],
)
@pytest.mark.parametrize("command", [main, check])
def test_a_mistake_gets_one_line_and_a_suggestion(
    command: object, arguments: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command) and command(arguments.split()) == 2
    streams = capsys.readouterr()
    (error,) = streams.err.splitlines()
    assert error.startswith(f"Error: {line}") and streams.out == ""
