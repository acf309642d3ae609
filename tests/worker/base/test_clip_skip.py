"""Clip skip: which of the text encoder's layers SD 1.x reads, wherever prompts are encoded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel

from tests.conftest import CLASS_PROMPT, PROMPT
from tests.worker.training.test_train import changed, run_training
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.photos.class_set import set_settings
from trainer.prompts.tokenizer import prompt_ids
from trainer.runs.control import Control
from trainer.runs.events import Sample
from trainer.runs.run import Run
from trainer.worker.base import models
from trainer.worker.base.parts import open_parts
from trainer.worker.base.prompts import encode_prompts
from trainer.worker.drawing.class_images import given_class_images
from trainer.worker.drawing.jobs import Pictures, sample_job
from trainer.worker.trainable.apply import LoraFile
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up

CLASSES = {"class_prompt": CLASS_PROMPT, "num_class_images": 2}


def encoded(path, clip_skip):
    base = models.open_base(ModelConfig(str(path), clip_skip=clip_skip))
    encoders = models.load_text_encoders(base, torch.float32)
    with torch.no_grad():
        return encode_prompts(base.family, encoders, [PROMPT]).embeds


def shortened(path, layers):
    """What a text encoder of only the first layers makes of the prompt, its final norm included."""
    (whole,) = models.load_text_encoders(models.open_base(ModelConfig(str(path))), torch.float32)
    config = CLIPTextConfig(**whole.config.to_dict() | {"num_hidden_layers": layers})
    short = CLIPTextModel(config).eval()
    assert not short.load_state_dict(whole.state_dict(), strict=False).missing_keys
    with torch.no_grad():
        return short(torch.tensor([prompt_ids(PROMPT, None)])).last_hidden_state


@pytest.mark.parametrize(("clip_skip", "layers"), [(None, 3), (1, 3), (2, 2), (3, 1)])
def test_prompts_end_that_many_layers_earlier_and_pass_the_final_norm(
    tiny_checkpoint, clip_skip, layers
):
    path = tiny_checkpoint("sd1")
    torch.testing.assert_close(encoded(path, clip_skip), shortened(path, layers))


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_a_family_without_a_choice_refuses_it(tiny_checkpoint, family):
    with pytest.raises(ConfigError, match="clip_skip is 2, but SD.* always reads .*second-to-last"):
        models.open_base(ModelConfig(str(tiny_checkpoint(family)), clip_skip=2))


def test_more_than_there_are_layers_is_refused(tiny_checkpoint):
    with pytest.raises(ConfigError, match="clip_skip is 4, but .* has 3 layers. Set .* at most 3"):
        encoded(tiny_checkpoint("sd1"), 4)


def test_training_reads_that_layer_with_frozen_and_with_trained_text_encoders(
    make_config, tiny_checkpoint, tmp_path
):
    expected = shortened(tiny_checkpoint("sd1"), 2)
    for name, values in {
        "frozen": {},
        "lora": {"train_text_encoder": True},
        "full": {"train_text_encoder": True, "method": "full"},
    }.items():
        config = make_config(clip_skip=2, **values)
        job = Job(config, Run(tmp_path / name), False, lambda _: None, Control())
        training = set_up(job)
        with torch.no_grad():
            torch.testing.assert_close(training.model.encode([PROMPT]).embeds, expected)
        trained = [name for name, _ in training.model.trained.named_parameters()]
        text = [name for name in trained if "unet" not in name]
        assert not any("layers_2" in name or "layers.2" in name for name in text)
        assert any("layers_1" in name or "layers.1" in name for name in text) == bool(values)
        training.updater.gradients(1)
        assert all(p.grad is not None for p in training.model.trained.parameters())


def test_the_file_and_its_card_say_so(make_config, tmp_path):
    end = run_training(make_config(clip_skip=2, max_train_steps=1), tmp_path / "run")[-1]
    with safe_open(end.result_path, framework="pt") as file:
        metadata = file.metadata()
    assert (metadata["ss_clip_skip"], metadata["modelspec.encoder_layer"]) == ("2", "2")
    card = json.loads((tmp_path / "loras" / "dog.json").read_text())
    assert "Use it with Clip skip 2." in card["notes"]
    usual = run_training(make_config(max_train_steps=1), tmp_path / "usual")[-1]
    with safe_open(usual.result_path, framework="pt") as file:
        assert not {"ss_clip_skip", "modelspec.encoder_layer"} & file.metadata().keys()


def test_samples_during_and_after_training_agree(make_config, tmp_path):
    config = make_config(clip_skip=2, max_train_steps=1, sample_every=1, save_precision="fp32")
    events = run_training(config, tmp_path / "run")
    during = [event.path for event in events if isinstance(event, Sample)][-1]
    drawn = {}
    for clip_skip in (None, 2):
        folder = tmp_path / f"skip {clip_skip}"
        pictures = Pictures([PROMPT], 1, "", 7.5, 2, 42, (64, 64), folder)
        model = ModelConfig(config.model.base, clip_skip=clip_skip)
        parts = open_parts(model, "no", lambda _: None)
        sample_job(parts, pictures, LoraFile(Path(events[-1].result_path)), Control())
        (drawn[clip_skip],) = folder.glob("*.png")
    during, plain, same = (Image.open(path).tobytes() for path in (during, drawn[None], drawn[2]))
    assert during == same != plain


def test_class_images_of_another_layer_are_another_set(make_config, tmp_path):
    sets = {}
    for clip_skip in (None, 2):
        config = make_config(clip_skip=clip_skip, **CLASSES)
        set_up(Job(config, Run(tmp_path / f"{clip_skip}" / "run"), False, print, Control()))
        (file,) = (tmp_path / f"{clip_skip}").rglob("set.json")
        sets[clip_skip] = file.parent
    assert sets[None].name != sets[2].name
    assert set_settings(sets[2])["clip_skip"] == 2
    first, second = (Image.open(sets[k] / "000000.png").tobytes() for k in (None, 2))
    assert first != second
    for made, other in ((None, 2), (2, None)):
        config = make_config(clip_skip=other, class_images=str(sets[made]), **CLASSES)
        with pytest.raises(ConfigError, match="were generated with clip_skip"):
            given_class_images(config.concepts[0].prior, models.open_base(config.model))


def test_a_resume_with_another_layer_is_refused(make_config, tmp_path):
    config = make_config(clip_skip=2)
    run_training(config, tmp_path / "run", stop_after=2)
    with pytest.raises(ConfigError, match="settings changed: clip_skip"):
        run_training(changed(config, clip_skip=1), tmp_path / "run", resume=True)
