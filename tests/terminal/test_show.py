"""What the terminal shows of texts that others wrote."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.helpers.model_files import kohya_lora, write_model
from trainer.runs import events
from trainer.terminal.cli import main
from trainer.terminal.show import TerminalReport

EVIL = "a\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe"


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return what a terminal returns."""
        return True


def test_events_reach_the_terminal_without_codes_that_it_obeys():
    stream = Terminal()
    report = TerminalReport(stream)
    for event in (
        events.Status("loading", message=EVIL),
        events.Warning("odd", EVIL, EVIL),
        events.Sample(1, EVIL, "", 0),
        events.Failed("crashed", f"{EVIL}\n{EVIL}", EVIL, EVIL),
    ):
        report(event)
    shown = stream.getvalue().replace("\r\x1b[2K", "").replace("\n", "")
    assert shown.isprintable() and "owned" in shown


def test_inspect_shows_no_codes_of_a_files_name_or_metadata(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    metadata = {"ss_output_name": EVIL, "modelspec.title": EVIL}
    path = write_model(tmp_path / f"{EVIL}.safetensors", kohya_lora(768), metadata=metadata)
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "owned" in shown and shown.replace("\n", "").isprintable()
    assert main(["inspect", str(tmp_path / f"{EVIL}.ckpt")]) == 2
    assert capsys.readouterr().err.replace("\n", "").isprintable()
