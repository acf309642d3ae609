"""What the files of generated images say of how they were made."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.worker.training.test_train import run_training
from trainer.config.model import ModelConfig
from trainer.runs.control import Control
from trainer.runs.events import Sample
from trainer.worker.base.parts import open_parts
from trainer.worker.drawing.jobs import Pictures, sample_job
from trainer.worker.trainable.apply import LoraFile


def text_of(path: str | Path) -> str:
    with Image.open(path) as image:
        (text,) = image.text.values()  # pyright: ignore[reportAttributeAccessIssue]
    return text


def test_class_images_and_samples_say_what_made_them(make_config, tmp_path):
    config = make_config(
        class_prompt="a photo of a dog", num_class_images=2, class_seed=7, max_train_steps=1,
        sample_every=1, sample_negative_prompt="ugly", class_negative_prompt="blurry é",
    )  # fmt: skip
    events = run_training(config, tmp_path / "runs" / "r")
    (second,) = (tmp_path / "runs" / "cache").rglob("000001.png")
    assert text_of(second) == (
        "a photo of a dog\nNegative prompt: blurry é\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 7.5, "
        "Seed: 8, Size: 64x64, Model: sd1_0, Version: DreamBooth trainer 0.1.0"
    )
    before, after = (event for event in events if isinstance(event, Sample))
    assert text_of(before.path).startswith("a photo of sks dog\nNegative prompt: ugly\nSteps: 2")
    assert "LoRA" not in text_of(before.path) and "LoRA: in training, step 1" in text_of(after.path)
    parts = open_parts(ModelConfig(config.model.base), "no", lambda _: None)
    pictures = Pictures(["sks dog"], 1, "", 5, 1, 42, (64, 64), tmp_path / "drawn")
    sample_job(parts, pictures, LoraFile(Path(events[-1].result_path), 0.5), Control())
    (drawn,) = pictures.output.iterdir()
    assert "CFG scale: 5, Seed: 42" in text_of(drawn) and "LoRA: dog (0.5)" in text_of(drawn)
    for path in tmp_path.rglob("*.png"):
        assert str(tmp_path).encode() not in path.read_bytes()
