"""The sampler of class images: each image follows from its own seed, in any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler
from PIL import Image

from tests.conftest import CLASS_PROMPT
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.photos.class_set import set_settings
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base.parts import open_parts
from trainer.worker.base.prompts import encode_table
from trainer.worker.drawing.sampler import Drawer, Sampler, draw_series
from trainer.worker.randomness import generator
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up

ANCESTRAL = {"class_sampler": "euler_ancestral", "class_inference_steps": 4}
CLASSES = {"class_prompt": CLASS_PROMPT, "num_class_images": 4}


def class_images(config, folder):
    set_up(Job(config, Run(folder / "run"), False, lambda _: None, Control()))
    (file,) = folder.rglob("set.json")
    return file.parent


def pixels(folder):
    return [np.asarray(Image.open(path), dtype=int) for path in sorted(folder.glob("*.png"))]


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_ancestral"])
def test_the_batch_size_changes_an_image_by_rounding_alone(make_config, tmp_path, sampler):
    config = dict(ANCESTRAL, class_sampler=sampler, **CLASSES)
    single = class_images(make_config(class_batch_size=1, **config), tmp_path / "single")
    batched = class_images(make_config(class_batch_size=3, **config), tmp_path / "batched")
    assert single.name == batched.name
    pairs = list(zip(pixels(single), pixels(batched), strict=True))
    assert len(pairs) == 4
    assert all(np.abs(one - other).max() <= 1 for one, other in pairs)
    assert all(np.abs(pairs[0][0] - one).max() > 8 for one, _ in pairs[1:])


def test_four_at_once_are_two_and_then_two_more(make_config, tmp_path):
    whole = class_images(make_config(**ANCESTRAL | CLASSES), tmp_path / "whole")
    config = ANCESTRAL | CLASSES | {"num_class_images": 2}
    parts = class_images(make_config(**config), tmp_path / "parts")
    four = make_config(**ANCESTRAL | CLASSES)
    set_up(Job(four, Run(tmp_path / "parts/run2"), False, lambda _: None, Control()))
    files = [sorted(folder.glob("*.png")) for folder in (whole, parts)]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]


def test_the_sampler_is_part_of_what_a_set_is(make_config, tmp_path):
    own = {"class_inference_steps": 4, **CLASSES}
    usual = class_images(make_config(**own), tmp_path / "usual")
    ancestral = class_images(make_config(**ANCESTRAL | CLASSES), tmp_path / "ancestral")
    names = [set_settings(folder)["sampler"] for folder in (usual, ancestral)]
    assert names == ["dpm++ 2m", "euler ancestral"]
    assert usual.name != ancestral.name


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_it_is_the_ancestral_step_with_new_noise_from_the_images_seed(tiny_checkpoint, family):
    """Against the formulas of Karras et al. (arXiv 2206.00364) and k-diffusion, written out."""
    prediction = "v_prediction" if family == "sd2" else "epsilon"
    model = ModelConfig(str(tiny_checkpoint(family)), prediction_type=prediction)
    parts = open_parts(model, "no", lambda _: None)
    encoders = parts.text_encoders
    table = encode_table(parts.base.family, encoders, [CLASS_PROMPT, ""], lambda: None)
    drawer, seed, steps = Drawer.of(parts), 7, 5
    sampler = Sampler((64, 64), 3.0, steps, lambda: None, "euler_ancestral")
    (drawn,) = draw_series(drawer, sampler, [table[[CLASS_PROMPT]]], table[[""]], [seed])

    alphas = parts.noise_scheduler.alphas_cumprod
    scheduler = EulerAncestralDiscreteScheduler.from_config(
        parts.noise_scheduler.config, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    times = [int(t) for t in scheduler.timesteps]
    sigmas = [float(((1 - alphas[t]) / alphas[t]) ** 0.5) for t in times] + [0.0]
    x = torch.randn((1, 4, 8, 8), generator=generator(seed, "sample")) * sigmas[0]
    rng = generator(seed, "sample steps")
    for t, sigma, down_to in zip(times, sigmas, sigmas[1:], strict=False):
        scaled = x / (sigma**2 + 1) ** 0.5
        with torch.no_grad():
            bare, guided = (
                drawer.unet(scaled, t, encoder_hidden_states=table[[text]].embeds).sample
                for text in ("", CLASS_PROMPT)
            )
        found = bare + 3.0 * (guided - bare)
        if prediction == "epsilon":
            clean = x - sigma * found
        else:
            clean = x / (sigma**2 + 1) - found * sigma / (sigma**2 + 1) ** 0.5
        up = (down_to**2 * (sigma**2 - down_to**2) / sigma**2) ** 0.5
        down = (down_to**2 - up**2) ** 0.5
        x = x + (x - clean) / sigma * (down - sigma)
        x = x + up * torch.randn(x.shape, generator=rng)
    with torch.no_grad():
        picture = parts.vae.decode(x / parts.vae.config.scaling_factor).sample[0]
    expected = ((picture / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(drawn, dtype=float) - expected).max() <= 1


def test_a_sampler_without_class_images_is_refused(make_config):
    with pytest.raises(ConfigError, match="class_sampler is euler_ancestral, but there are no cl"):
        make_config(**ANCESTRAL)
