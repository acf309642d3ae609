"""Base models: single files, diffusers folders, VAE overrides, and what they predict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.conftest import PROMPT
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.worker.base import models, vae_layout
from trainer.worker.base.prompts import encode_prompts


def save_folder(base: Path, folder: Path, prediction_type: str = "epsilon") -> Path:
    """The same model as a diffusers folder."""
    opened = models.open_base(ModelConfig(str(base)))
    models.load_unet(opened, torch.float32).save_pretrained(folder / "unet")
    models.load_vae(opened).save_pretrained(folder / "vae")
    for kind, encoder in zip(
        opened.family.text_encoders, models.load_text_encoders(opened, torch.float32), strict=True
    ):
        encoder.save_pretrained(folder / kind.folder)
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type=prediction_type,
    )  # fmt: skip
    scheduler.save_pretrained(folder / "scheduler")
    name = (
        "StableDiffusionXLPipeline" if opened.family.name == "sdxl" else "StableDiffusionPipeline"
    )
    (folder / "model_index.json").write_text(f'{{"_class_name": "{name}"}}')
    return folder


def outputs(base: Path) -> list[torch.Tensor]:
    opened = models.open_base(ModelConfig(str(base)))
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn((1, 4, 8, 8), generator=rng)
    with torch.no_grad():
        encoders = models.load_text_encoders(opened, torch.float32)
        prompts = encode_prompts(opened.family, encoders, [PROMPT])
        conditions = None
        if prompts.pooled is not None:
            conditions = {"text_embeds": prompts.pooled, "time_ids": torch.full((1, 6), 64)}
        unet = models.load_unet(opened, torch.float32)
        predicted = unet(latents, 500, prompts.embeds, added_cond_kwargs=conditions).sample
        decoded = models.load_vae(opened).decode(latents).sample
    return [prompts.embeds, predicted, decoded]


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_diffusers_folder_computes_the_same_as_the_single_file(tiny_checkpoint, tmp_path, family):
    base = tiny_checkpoint(family)
    folder = save_folder(base, tmp_path / "folder")
    for file, other in zip(outputs(base), outputs(folder), strict=True):
        torch.testing.assert_close(file, other, atol=1e-5, rtol=1e-5)


def test_pictures_are_decoded_in_tiles_of_one_size_whatever_the_folder_says(
    tiny_checkpoint, tmp_path
):
    folder = save_folder(tiny_checkpoint("sdxl"), tmp_path / "folder")
    file = folder / "vae" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "sample_size": 1024}))
    vae = models.load_vae(models.open_base(ModelConfig(str(folder))))
    assert vae.tile_sample_min_size == 512
    assert vae.tile_latent_min_size == 512 // models.vae_factor(vae)


def test_a_folders_scheduler_says_what_it_predicts(tiny_checkpoint, tmp_path):
    folder = save_folder(tiny_checkpoint("sd2"), tmp_path / "folder", "v_prediction")
    opened = models.open_base(ModelConfig(str(folder)))
    assert opened.prediction_type == "v_prediction"
    assert models.load_noise_scheduler(opened).config["prediction_type"] == "v_prediction"


def test_marks_of_velocity_models_are_read(tmp_path):
    path = save_checkpoint(tmp_path / "v.safetensors", "sdxl", "tiny", v_prediction=True)
    assert models.open_base(ModelConfig(str(path))).prediction_type == "v_prediction"
    opened = models.open_base(ModelConfig(str(path), prediction_type="epsilon"))
    assert opened.prediction_type == "epsilon"


def test_zero_terminal_snr_is_read_and_has_no_signal_at_the_last_step(tiny_checkpoint, tmp_path):
    weights = load_file(tiny_checkpoint("sdxl")) | {"ztsnr": torch.tensor([])}
    save_file(weights, tmp_path / "z.safetensors")
    opened = models.open_base(ModelConfig(str(tmp_path / "z.safetensors")))
    assert models.load_noise_scheduler(opened).alphas_cumprod[-1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("form", ["prefixed", "bare", "diffusers"])
def test_a_vae_file_replaces_the_checkpoints(tiny_checkpoint, tmp_path, form):
    base, other = tiny_checkpoint("sd1"), tiny_checkpoint("sd1", seed=1)
    weights = {k: v for k, v in load_file(other).items() if k.startswith("first_stage_model.")}
    if form != "prefixed":
        weights = {k.removeprefix("first_stage_model."): v for k, v in weights.items()}
    if form == "diffusers":
        weights = {k: v.contiguous() for k, v in vae_layout.vae_to_diffusers(weights).items()}
    save_file(weights, tmp_path / "vae.safetensors")
    opened = models.open_base(ModelConfig(str(base), str(tmp_path / "vae.safetensors")))
    expected = models.load_vae(models.open_base(ModelConfig(str(other)))).state_dict()
    found = models.load_vae(opened).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_weight_of_the_wrong_shape_is_named(tiny_checkpoint, tmp_path):
    weights = load_file(tiny_checkpoint("sd1"))
    name = "model.diffusion_model.out.2.bias"
    weights[name] = torch.zeros(7, dtype=torch.float16)
    save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ConfigError, match=r"U-Net's out.2.bias has shape \(7,\), not \(4,\)"):
        models.open_base(ModelConfig(str(tmp_path / "bad.safetensors")))
