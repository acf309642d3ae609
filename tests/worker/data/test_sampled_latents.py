"""Latents drawn from the VAE's distribution: which, when, and what is kept of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import CLASS_PROMPT
from tests.worker.training.test_train import assert_identical, newest_state, run_training
from trainer.photos.crops import crops_of
from trainer.photos.images import load_photos
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base.latents import encode_image
from trainer.worker.base.parts import open_parts
from trainer.worker.data.batches import step_batches
from trainer.worker.data.order import Share, picks
from trainer.worker.randomness import generator
from trainer.worker.training.job import Job
from trainer.worker.training.prepare import cache_bytes, check_sources
from trainer.worker.training.setup import set_up

CLASSES = {"class_prompt": CLASS_PROMPT, "num_class_images": 2}


def prepared(config, folder):
    return set_up(Job(config, Run(folder), False, lambda _: None, Control()))


def batch_of(training, config, window=0):
    return next(step_batches(training.updater.concepts, config.training, window))


def test_mean_and_spread_are_those_of_the_vaes_distribution(make_config, tiny_checkpoint):
    config = make_config()
    parts = open_parts(config.model, "no", lambda _: None)
    (photo, *_) = load_photos(config.concepts[0].instance, print)
    (crop,) = crops_of(photo, config.concepts[0].instance, 0)
    pixels = np.asarray(crop.image, dtype=np.uint8)
    mean, spread = encode_image(parts.vae, pixels)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        moments = parts.vae.quant_conv(parts.vae.encoder(image))[0]
    expected, log_variance = moments.chunk(2)
    scale = parts.vae.config.scaling_factor
    torch.testing.assert_close(mean, expected * scale)
    torch.testing.assert_close(spread, log_variance.clamp(-30, 20).div(2).exp() * scale)


def test_what_reaches_the_loss_is_mean_plus_spread_times_noise_of_seed_and_position(
    make_config, tmp_path
):
    mean, sampled = make_config(**CLASSES), make_config(latents="sampled", **CLASSES)
    plain, drawn = prepared(mean, tmp_path / "m/run"), prepared(sampled, tmp_path / "s/run")
    for window in (0, 1, 5):
        before, after = batch_of(plain, mean, window), batch_of(drawn, sampled, window)
        assert torch.equal(before.noise, after.noise)
        assert torch.equal(before.timesteps, after.timesteps)
        found = picks(drawn.updater.concepts, 0, window, batch_size=1, share=Share())
        for row, pick in enumerate(found):
            rng = generator(0, f"{pick.images.name} latents", pick.position)
            shift = pick.image.spread * torch.randn(pick.image.latents.shape, generator=rng)
            assert float(shift.abs().max()) > 0
            assert torch.equal(after.latents[row], before.latents[row] + shift)
    assert not torch.equal(batch_of(drawn, sampled, 0).latents, batch_of(drawn, sampled, 3).latents)


def test_the_cache_keeps_the_spread_only_where_it_is_needed_and_adds_it_later(
    make_config, tmp_path
):
    cache = tmp_path / "cache" / "latents"
    prepared(make_config(), tmp_path / "one")
    first = {path.name: load_file(path) for path in cache.glob("*")}
    assert [sorted(tensors) for tensors in first.values()] == [["latents"]] * 3
    prepared(make_config(latents="sampled"), tmp_path / "two")
    second = {path.name: load_file(path) for path in cache.glob("*")}
    assert first.keys() == second.keys()
    for name, tensors in second.items():
        assert sorted(tensors) == ["latents", "spread"]
        assert torch.equal(tensors["latents"], first[name]["latents"])
    files = {path: path.stat().st_mtime_ns for path in cache.glob("*")}
    training = prepared(make_config(), tmp_path / "three")
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*")} == files
    assert all(i.spread is None for i in training.updater.concepts[0].sets[0].images)


def test_the_disk_check_counts_both(make_config):
    plain, sampled = (
        cache_bytes(check_sources(make_config(latents=kind))) for kind in ("mean", "sampled")
    )
    assert sampled == 2 * plain


@pytest.mark.parametrize("latents", ["mean", "sampled"])
def test_a_resumed_run_draws_what_a_straight_one_draws(make_config, tmp_path, latents):
    config = make_config(latents=latents, **CLASSES)
    run_training(config, tmp_path / "straight")
    run_training(config, tmp_path / "stopped", stop_after=2)
    run_training(config, tmp_path / "stopped", resume=True)
    assert_identical(newest_state(tmp_path / "straight"), newest_state(tmp_path / "stopped"))
