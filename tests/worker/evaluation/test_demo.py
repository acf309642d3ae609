"""The demonstration, whole; and the measures, held against pictures whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trainer.errors import ConfigError
from trainer.runs.events import Finished, Status, read_events
from trainer.runs.run import Run
from trainer.terminal import cli
from trainer.worker.evaluation import demo, gallery
from trainer.worker.evaluation.measures import MEANINGS, Measures, measure
from trainer.worker.minisd.probe import PROBE, load_probe
from trainer.worker.minisd.subject import subject

NOUN = "dog"
LOOK = subject(NOUN, 4321)
PHOTOS = gallery.photos(LOOK, 5, seed=99)
PERFECT = gallery.perfect_gallery(LOOK, PHOTOS)


def judged(**changed: Any) -> Measures:
    return measure(load_probe(), LOOK, replace(PERFECT, **changed))


def test_a_perfect_model_is_praised():
    found = judged()
    assert found.fidelity > 0.9
    assert found.prompt_accuracy > 0.9
    assert found.language_drift < 0.15
    assert found.class_accuracy > 0.8 and found.others_accuracy > 0.9
    assert found.colour_accuracy > 0.6
    assert found.likeness > found.leakage + 0.4
    assert found.diversity > 0.4
    assert found.copying < 0.1


def test_each_failure_shows_in_its_measure():
    assert judged(subject=PERFECT.class_noun).fidelity < 0.15
    assert judged(places=[*PERFECT.places[2:], *PERFECT.places[:2]]).prompt_accuracy < 0.1
    assert judged(coloured=PERFECT.subject[: len(PERFECT.colours)]).colour_accuracy < 0.2
    forgetful = judged(class_noun=PERFECT.subject)
    assert forgetful.language_drift > 0.9
    assert forgetful.diversity < judged().diversity / 2
    spilt = judged(others=PERFECT.subject[: len(PERFECT.others)])
    assert spilt.leakage > 0.5 and spilt.others_accuracy < 0.1
    assert judged(subject=(PHOTOS * 9)[: len(PERFECT.subject)]).copying == 1


def test_every_measure_is_explained():
    assert list(judged().to_dict()) == list(MEANINGS)


def test_the_demonstration_leaves_what_it_promises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    config_of = demo.demo_config

    def short_config(folder: Path) -> Any:
        config = config_of(folder)
        return config.with_values(max_train_steps=2, num_class_images=2)

    monkeypatch.setattr(demo, "demo_config", short_config)
    monkeypatch.setattr(gallery, "INFERENCE_STEPS", 2)
    monkeypatch.setattr(gallery, "unseen_places", lambda: ["desert", "night"])
    run = Run(tmp_path / "demo")
    assert cli.main(["demo", "--run", str(run.folder)]) == 0
    said = capsys.readouterr()
    assert str(run.report) in said.err
    page = run.report.read_text("utf-8")
    assert demo.SHEET in page and all(name in page for name in MEANINGS)
    assert (run.folder / "sks_dog.safetensors").stat().st_size > 100_000
    assert len(list((run.folder / "photos").iterdir())) == demo.NUM_PHOTOS
    figures = json.loads((run.folder / "measures.json").read_text())
    assert figures.keys() == {"before", "after"} and figures["after"].keys() == MEANINGS.keys()
    with Image.open(run.folder / demo.SHEET) as sheet:
        assert sheet.width > 7 * 128 and sheet.height > 3 * 128
    first, *_, drawing, finished = read_events(run.events)
    assert isinstance(drawing, Status) and isinstance(finished, Finished)
    assert finished.time > drawing.time
    assert finished.seconds > drawing.time - first.time  # the drawings are part of it

    assert cli.main(["demo", "--run", str(run.folder)]) == 2  # an earlier demonstration's
    assert "Give --resume" in capsys.readouterr().err
    assert len(list((run.folder / "photos").iterdir())) == demo.NUM_PHOTOS


@pytest.mark.parametrize("content", [None, PROBE.read_bytes()[:-1]])
def test_a_judge_that_is_missing_or_damaged_is_told_before_the_training(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "probe.safetensors"
    file.with_suffix(".sha256").write_bytes(PROBE.with_suffix(".sha256").read_bytes())
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="damaged" if content else "cannot be read"):
        load_probe(file)
    monkeypatch.setattr(demo, "load_probe", lambda: load_probe(file))
    assert cli.main(["demo", "--run", str(tmp_path / "demo")]) == 2
    assert not (tmp_path / "demo").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("no folder")
    assert cli.main(["demo", "--run", str(tmp_path / "file" / "demo")]) == 2
    assert "cannot be written to" in capsys.readouterr().out


@pytest.mark.slow
def test_the_demonstration_learns_its_subject_and_keeps_the_rest(tmp_path: Path):
    folder = tmp_path / "demo"
    assert cli.main(["demo", "--run", str(folder)]) == 0
    figures = json.loads((folder / "measures.json").read_text())
    before, after = figures["before"], figures["after"]
    assert after["fidelity"] > before["fidelity"] + 0.4
    assert after["prompt_accuracy"] > before["prompt_accuracy"] - 0.1
    assert after["others_accuracy"] > before["others_accuracy"] - 0.1
    assert after["language_drift"] < 0.5 * after["fidelity"]
    assert after["copying"] < 0.2
