"""The small model's training from scratch: what a stop must not change, and its own shortcuts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.config.model import ModelConfig
from trainer.worker.base.embedded import embedded_folder
from trainer.worker.base.models import load_vae, open_base
from trainer.worker.base.shipped import checked_digest
from trainer.worker.minisd.fit import Plan, fit, load_average
from trainer.worker.minisd.fit_model import Denoiser, Recipe, SharedText, Stage, fit_model

PLAN = Plan(6, 0.1, warmup=2, averaging=3, save_every=3)


class Stopped(Exception):
    """The process ends here."""


def small_network(*, learns_second: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for parameter in network[1].parameters():
        parameter.requires_grad_(learns_second)
    return network


def step_loss_of(network: nn.Module, stop_at: int | None = None) -> Callable[[int], Tensor]:
    def step_loss(step: int) -> Tensor:
        if step == stop_at:
            raise Stopped
        seen = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return network(seen).square().mean()

    return step_loss


@pytest.mark.parametrize("learns_second", [True, False])
def test_a_stopped_fit_goes_on_to_the_same_weights(learns_second: bool, tmp_path: Path):
    straight = small_network(learns_second=learns_second)
    wanted = fit(straight, step_loss_of(straight), PLAN, tmp_path / "straight.safetensors")

    stopped = small_network(learns_second=learns_second)
    with pytest.raises(Stopped):
        fit(stopped, step_loss_of(stopped, stop_at=5), PLAN, tmp_path / "state.safetensors")
    resumed = small_network(learns_second=learns_second)
    found = fit(resumed, step_loss_of(resumed), PLAN, tmp_path / "state.safetensors")

    for name, weight in straight.named_parameters():
        assert torch.equal(resumed.get_parameter(name), weight), name
        assert torch.equal(found[name], wanted[name]), name


def test_what_does_not_learn_stays_and_is_kept(tmp_path: Path):
    network = small_network(learns_second=False)
    before = small_network()[1].get_parameter("weight")
    fit(network, step_loss_of(network), PLAN, tmp_path / "state.safetensors")
    kept = small_network()
    nn.init.zeros_(kept[1].get_parameter("weight"))
    load_average(kept, tmp_path / "state.safetensors")
    assert torch.equal(kept[1].get_parameter("weight"), before)


def test_a_caption_read_once_for_several_views_gives_what_it_gives_alone():
    torch.manual_seed(0)
    unet = Denoiser().unet
    views, captions = 3, 2
    noisy = torch.randn(views * captions, 4, 8, 8)
    timesteps = torch.randint(0, 1000, (views * captions,))
    told = torch.randn(captions, 77, unet.config["cross_attention_dim"])
    with torch.no_grad():
        assert isinstance(next(iter(unet.attn_processors.values())), SharedText)
        shared = unet(noisy, timesteps, told).sample
        unet.set_attn_processor(AttnProcessor())
        alone = unet(noisy, timesteps, told.repeat(views, 1, 1)).sample
        other = unet(noisy, timesteps, told.flip(0).repeat(views, 1, 1)).sample
    torch.testing.assert_close(shared, alone)
    assert not torch.allclose(other, alone)


def test_a_recipe_becomes_a_model_that_draws(tmp_path: Path):
    plan = Plan(2, 1e-4, warmup=1, averaging=1)
    stages = (Stage(64, 4, 4, 2, plan), Stage(128, 2, 2, 2, plan, learns_text=False))
    recipe = Recipe(num_vae_pictures=4, vae_batch=2, vae=plan, stages=stages)
    file = fit_model(recipe, tmp_path)
    made = file.read_bytes()
    folder = embedded_folder(file, tmp_path / "expanded")
    base = open_base(ModelConfig(str(folder)))
    vae = load_vae(base)
    latents = load_file(tmp_path / "latents_128.safetensors")["latents"].float()
    assert latents.shape == (2, 4, 32, 32)
    picture = vae.decode(latents / vae.config["scaling_factor"]).sample
    assert picture.shape == (2, 3, 128, 128) and picture.isfinite().all()
    assert checked_digest(fit_model(recipe, tmp_path)) == hashlib.sha256(made).hexdigest()
