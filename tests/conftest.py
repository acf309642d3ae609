"""Tiny real models and made photos for all tests."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

from benchmarks.random_checkpoint import save_checkpoint
from trainer.config.config import Config
from trainer.worker.minisd.render import render
from trainer.worker.minisd.subject import subject, view_of

PROMPT = "a photo of sks dog"
CLASS_PROMPT = "a photo of a dog"

CheckpointMaker = Callable[..., Path]
ConfigMaker = Callable[..., Config]


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps its precision and models for the whole process; tests use several."""
    yield
    if not AcceleratorState._shared_state:
        return  # and most tests start none: collecting takes half a second
    gc.collect()
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> CheckpointMaker:
    """A random tiny checkpoint of a family, made once."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(family: str, seed: int = 0) -> Path:
        path = folder / f"{family}_{seed}.safetensors"
        return path if path.exists() else save_checkpoint(path, family, "tiny", seed=seed)

    return make


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three different photos of different shapes."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index, size in enumerate([(96, 80), (80, 120), (100, 100)]):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        noise = rng.integers(-40, 40, (size[1], size[0], 3))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=int)
        pixels = (smooth + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"photo_{index}.png")
    return folder


@pytest.fixture(scope="session")
def dog_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five drawn views of one dog, which the documentation's pictures show."""
    folder = tmp_path_factory.mktemp("dog")
    rng, look = np.random.Generator(np.random.PCG64(3)), subject("dog", 1)
    for place in ("meadow", "beach", "room", "snow", "city"):
        pixels = render(view_of(look, rng, place), 512).image
        Image.fromarray(pixels).save(folder / f"{place}.png")
    return folder


@pytest.fixture
def make_config(tiny_checkpoint: CheckpointMaker, photos: Path, tmp_path: Path) -> ConfigMaker:
    """A config of a few quick float32 steps on a tiny model; settings come on top."""

    def make(family: str = "sd1", **values: object) -> Config:
        defaults: dict[str, object] = {
            "base": str(tiny_checkpoint(family)),
            "instance_images": (str(photos),),
            "instance_prompt": PROMPT,
            "resolution": 64,
            "rank": 4,
            "max_train_steps": 4,
            "learning_rate": 1e-3,
            "mixed_precision": "no",
            "sample_every": None,
            "sample_inference_steps": 2,
            "save_every": None,
            "class_inference_steps": 2,
            "output": str(tmp_path / "loras" / "dog.safetensors"),
        }
        return Config.from_values(defaults | values)

    return make
