"""Several subjects in one training, and losses that are what was minimized."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests.worker.training.test_train import assert_identical, newest_state, run_training
from trainer.runs.control import Control
from trainer.runs.events import Finished, Progress, Sample, Started, Warning
from trainer.runs.run import Run
from trainer.runs.wording import start_text
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """A second subject: two photos, one named as a photo of the first subject is."""
    folder = tmp_path / "cats"
    folder.mkdir()
    for index, color in enumerate(("red", "blue")):
        Image.new("RGB", (96, 96), color).save(folder / f"photo_{index}.png")
    return folder


@pytest.fixture
def two_concepts(make_config, photos, cats):
    """A config of two subjects; the first with class images."""

    def make(**values: object):
        concepts = [
            {
                "instance_images": [str(photos)], "instance_prompt": "a photo of sks dog",
                "class_prompt": "a photo of a dog", "num_class_images": 2,
            },
            {"instance_images": [str(cats)], "instance_prompt": "a photo of ohwx cat",
             "concept_weight": 2},
        ]  # fmt: skip
        return make_config(concepts=concepts, **values)

    return make


def test_both_subjects_are_trained_and_sampled_and_named_in_the_file(two_concepts, tmp_path):
    config = two_concepts(max_train_steps=3, sample_every=3)
    events = run_training(config, tmp_path / "runs/r")
    started = next(event for event in events if isinstance(event, Started))
    assert (started.num_instance_images, started.num_class_images) == (5, 2)
    # The cat has two turns of three, and no class images.
    priors = [event.prior_loss for event in events if isinstance(event, Progress)]
    assert [prior is None for prior in priors] == [True, False, True]
    prompts = [event.prompt for event in events if isinstance(event, Sample)]
    assert prompts == 2 * ["a photo of sks dog", "a photo of ohwx cat"]  # before and after
    last = events[-1]
    assert isinstance(last, Finished) and last.result_kind == "lora"
    with safe_open(last.result_path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["modelspec.trigger_phrase"] == "a photo of sks dog, a photo of ohwx cat"
    assert metadata["dreambooth_triggers"] == '["a photo of sks dog", "a photo of ohwx cat"]'
    kept = json.loads(metadata["dreambooth_config"])
    assert [concept["instance_images"] for concept in kept["concepts"]][1] == ["cats"]


def test_four_steps_with_two_subjects_equal_two_and_two_after_a_stop(two_concepts, tmp_path):
    config = two_concepts(train_text_encoder=True, train_batch_size=2)
    run_training(config, tmp_path / "runs" / "straight")
    run_training(config, tmp_path / "runs" / "broken", stop_after=2)
    run_training(config, tmp_path / "runs" / "broken", resume=True)
    straight, broken = (newest_state(tmp_path / "runs" / name) for name in ("straight", "broken"))
    assert_identical(straight, broken)


@pytest.mark.parametrize("snr_gamma", [None, 0.01])
def test_the_reported_loss_is_the_one_that_is_minimized(make_config, tmp_path, snr_gamma):
    config = make_config(
        snr_gamma=snr_gamma, class_prompt="a photo of a dog", num_class_images=2,
        prior_loss_weight=0.7, train_batch_size=2, gradient_accumulation_steps=2,
    )  # fmt: skip
    job = Job(config, Run(tmp_path / "runs/r"), False, lambda event: None, Control())
    training = set_up(job)
    with torch.no_grad():
        windows = [loss for window in (0, 1) for loss, _ in training.updater.window_losses(window)]
    losses = training.update(1)
    assert losses.loss == pytest.approx(sum(windows).item() / 2, rel=1e-5)
    plain = losses.instance + 0.7 * losses.prior
    assert (losses.loss == pytest.approx(plain, rel=1e-6)) is (snr_gamma is None)


def metadata_of(path: str) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_the_file_and_its_card_name_what_the_captions_trained(make_config, tmp_path, cats):
    for index, text in enumerate(("a brown cat (asleep), indoors", "brown cat (asleep), grass")):
        (cats / f"photo_{index}.caption").write_text(text)
    config = make_config(instance_images=[str(cats)], max_train_steps=1)
    events = run_training(config, tmp_path / "runs/r")
    codes = [event.code for event in events if isinstance(event, Warning)]
    assert "caption_without_trigger" in codes and "prompt_syntax" in codes
    (started,) = (event for event in events if isinstance(event, Started))
    assert started.captions == "2 of 2 photos have captions."
    assert "2 of 2 photos have captions." in start_text(started)
    assert "2 of 2 photos have captions." in (tmp_path / "runs/r/report.html").read_text("utf-8")
    path = events[-1].result_path
    metadata = metadata_of(path)
    assert metadata["modelspec.trigger_phrase"] == "brown cat (asleep)"
    assert json.loads(metadata["ss_tag_frequency"]) == {
        "instance": {"a brown cat (asleep)": 1, "indoors": 1, "brown cat (asleep)": 1, "grass": 1}
    }
    card = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    assert card["activation text"] == r"brown cat \(asleep\)"


def test_without_a_common_word_the_card_quotes_a_caption(make_config, tmp_path, cats):
    for index, text in enumerate(("red", "blue")):
        (cats / f"photo_{index}.txt").write_text(text)
    config = make_config(instance_images=[str(cats)], max_train_steps=1)
    path = run_training(config, tmp_path / "runs/r")[-1].result_path
    assert metadata_of(path)["modelspec.trigger_phrase"] == ""
    card = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    assert card["activation text"] == ""
    assert card["notes"].endswith('The captions share no words; one of them: "red".')
