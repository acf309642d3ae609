"""What is trained is what ComfyUI sees: the same checkpoint computes the same in both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from trainer.config.model import ModelConfig
from trainer.worker.base import models
from trainer.worker.base.prompts import encode_prompts

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(comfy_host.skip_reason() is not None, reason=str(comfy_host.skip_reason())),
]
SCRIPT = Path(__file__).parents[1] / "helpers/comfy_forward.py"
PROMPT = "A photo of sks dog, naïve café, it's 3 o'clock"


@pytest.mark.parametrize(
    "family",
    ["sd1", *(pytest.param(family, marks=pytest.mark.slow) for family in ("sd2", "sdxl"))],
)
def test_prompt_unet_and_vae_compute_the_same_as_in_comfyui(tmp_path, family):
    base = save_checkpoint(tmp_path / f"{family}.safetensors", family, "host")
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn((1, 4, 8, 8), generator=rng)
    pixels = torch.rand((1, 64, 64, 3), generator=rng)
    save_file({"latents": latents, "pixels": pixels}, tmp_path / "inputs.safetensors")
    command = [comfy_host.comfy_python(), SCRIPT, comfy_host.comfy_dir(), base, PROMPT]
    files = [tmp_path / "inputs.safetensors", tmp_path / "result.safetensors"]
    subprocess.run([str(part) for part in [*command, *files]], check=True, capture_output=True)
    theirs = load_file(files[1])
    with safe_open(files[1], framework="pt") as file:
        assert file.metadata()["k"] == "eps"

    opened = models.open_base(ModelConfig(str(base)))
    assert opened.prediction_type == "epsilon"
    with torch.no_grad():
        encoders = models.load_text_encoders(opened, torch.float32)
        prompts = encode_prompts(opened.family, encoders, [PROMPT])
        conditions = None
        if prompts.pooled is not None:
            time_ids = torch.tensor([[64, 64, 0, 0, 64, 64]])
            conditions = {"text_embeds": prompts.pooled, "time_ids": time_ids}
        unet = models.load_unet(opened, torch.float32)
        predicted = unet(latents, 500, prompts.embeds, added_cond_kwargs=conditions).sample
        vae = models.load_vae(opened)
        encoded = vae.encode(pixels.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mean
        decoded = vae.decode(latents).sample.permute(0, 2, 3, 1) / 2 + 0.5
    torch.testing.assert_close(prompts.embeds, theirs["embeds"], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(predicted, theirs["predicted"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(encoded, theirs["encoded"], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(decoded.clamp(0, 1), theirs["decoded"], atol=1e-3, rtol=1e-3)
