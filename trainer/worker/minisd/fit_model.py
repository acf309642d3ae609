"""Train the small model from scratch: `python -m trainer.worker.minisd.fit_model --work DIR`.

Three stages: the VAE on crops; the U-Net and text encoder together on images of half the side,
three times as many in the same time; then the U-Net alone on full-size images. Every stage is
seeded, and resumes from the state in the folder.

Legend: B images, H W pixels, h w latent height and width (pixels / 4).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler
from diffusers.models.attention_processor import Attention
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...files.atomic import write_atomic
from ..base.noise_schedule import make_noise_scheduler
from ..base.shipped import write_weights
from ..objective.weighting import min_snr_weight
from .dataset import caption_number, pictures, to_pixels
from .fit import Plan, fit, load_average
from .pack import pack
from .parts import SIDE_PX, VAE_FACTOR, encode, make_text_encoder, make_unet, make_vae

__all__ = ["Denoiser", "Recipe", "SharedText", "Stage", "fit_model", "main"]

CROP_PX = 64
KL_WEIGHT = 1e-6
UNCONDITIONAL_SHARE = 0.1  # of captions dropped, for classifier-free guidance
SNR_GAMMA = 5.0  # arXiv 2303.09556: timesteps with little noise get less weight
CHUNK = 256  # images rendered and encoded at a time
NUM_SCALES = 4  # at which images are compared; the coarse ones teach colors
CRISPNESS = 0.5  # weight of differences between neighboring pixels
DECORRELATION = 0.4


@dataclass(frozen=True)
class Stage:
    """One stage of the training of the U-Net and text encoder.

    Args:
        side: of the images, in pixels.
        num_pictures: images whose latents are computed in advance.
        views: how often a step uses each of its images, with one caption and different noise,
            because encoding a caption costs almost as much as denoising.
        learns_text: whether the text encoder is trained, too.
    """

    side: int
    num_pictures: int
    batch: int
    views: int
    plan: Plan
    learns_text: bool = True


@dataclass(frozen=True)
class Recipe:
    """All settings of the model's training."""

    seed: int = 1
    num_vae_pictures: int = 8192
    vae_batch: int = 16
    vae: Plan = Plan(3000, 1.5e-3, warmup=100, averaging=200)
    stages: tuple[Stage, ...] = (
        Stage(SIDE_PX // 2, 48_000, 64, 4, Plan(4000, 1e-3, warmup=200, anneal=0)),
        Stage(SIDE_PX, 16_000, 32, 2, Plan(9000, 7e-4, warmup=200), learns_text=False),
    )


class SharedText:
    """Attention in which several images share one caption, which is processed once.

    On a CPU, the backward pass of this plain version is twice as fast as that of the fused one.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
    ) -> Tensor:
        """Attend from images (B, N, C) to captions (B / views, L, D), or to themselves without."""
        assert attn.to_k and attn.to_v and attn.to_out
        told = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        views = len(hidden_states) // len(told)
        queries = attn.head_to_batch_dim(attn.to_q(hidden_states))
        keys = attn.head_to_batch_dim(attn.to_k(told).repeat(views, 1, 1))
        values = attn.head_to_batch_dim(attn.to_v(told).repeat(views, 1, 1))
        found = attn.get_attention_scores(queries, keys).bmm(values)
        return attn.to_out[0](attn.batch_to_head_dim(found))


class Denoiser(nn.Module):
    """The U-Net and the text encoder, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = make_unet()
        self.unet.set_attn_processor(SharedText())  # pyright: ignore[reportArgumentType]
        self.text_encoder = make_text_encoder()


class Painter(nn.Module):
    """The VAE, and a linear map from latents to colors that only its training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.vae = make_vae()
        self.colours = nn.Conv2d(4, 3, 1)

    def forward(self, pixels: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Any]:
        """Return the reconstruction (B, 3, H, W), latents' colors (B, 3, h, w) and posterior."""
        vae: Any = self.vae
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(pixels).latent_dist
            decoded = vae.decode(posterior.sample(rng)).sample
        return decoded.float(), self.colours(posterior.mean.float()), posterior


def fit_vae(recipe: Recipe, work: Path) -> AutoencoderKL:
    """Train the VAE to reproduce images; return it with averaged weights."""
    torch.manual_seed(recipe.seed)
    painter = Painter()
    draw = cache(lambda: pictures(recipe.seed, range(recipe.num_vae_pictures)))  # (N, H, W, 3)

    def step_loss(step: int) -> Tensor:
        rng = np.random.Generator(np.random.PCG64((recipe.seed, step)))
        images = draw()
        places = rng.integers(0, len(images), recipe.vae_batch)
        corners = rng.integers(0, SIDE_PX - CROP_PX + 1, (recipe.vae_batch, 2))
        crops = [
            images[place, y : y + CROP_PX, x : x + CROP_PX]
            for place, (y, x) in zip(places, corners, strict=True)
        ]
        return vae_loss(painter, to_pixels(np.stack(crops)), step)

    load_into(painter, fit(painter, step_loss, recipe.vae, work / "vae_state.safetensors"))
    return painter.vae.eval().requires_grad_(False)


def load_into(model: nn.Module, weights: dict[str, Tensor]) -> None:
    model.load_state_dict(weights, strict=False)


def vae_loss(painter: Painter, pixels: Tensor, seed: int) -> Tensor:
    """Return the error in colors and edges at several scales, plus small penalties on latents."""
    found, colours, posterior = painter(pixels, torch.Generator().manual_seed(seed))
    small = F.avg_pool2d(pixels, VAE_FACTOR)
    loss = KL_WEIGHT * posterior.kl().mean() + F.l1_loss(opponent(colours), opponent(small))
    loss = loss + DECORRELATION * correlation(posterior.mean.float())
    found, wanted = opponent(found), opponent(pixels)
    for _ in range(NUM_SCALES):
        loss = loss + F.l1_loss(found, wanted) + F.mse_loss(found, wanted)
        loss = loss + CRISPNESS * edge_loss(found, wanted)
        found, wanted = F.avg_pool2d(found, 2), F.avg_pool2d(wanted, 2)
    return loss


def opponent(pixels: Tensor) -> Tensor:
    """Return lightness and two hue channels (B, 3, H, W), which give hues more weight."""
    red, green, blue = pixels.unbind(1)
    return torch.stack([(red + green + blue) / 3, red - blue, red - 2 * green + blue], 1)


def correlation(latents: Tensor) -> Tensor:
    """Return the mean squared correlation between the channels of (B, 4, h, w)."""
    channels = latents.transpose(0, 1).flatten(1)
    correlations = torch.corrcoef(channels)
    return (correlations - torch.eye(len(channels))).square().mean()


def edge_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean difference of pixel gradients between images (B, 3, H, W)."""
    difference = found - wanted
    across, down = difference.diff(dim=-1), difference.diff(dim=-2)
    return across.abs().mean() + down.abs().mean()


@torch.no_grad()
def set_scaling_factor(vae: AutoencoderKL, recipe: Recipe) -> None:
    """Set the VAE's scaling factor, which brings latents to unit variance."""
    pixels = to_pixels(pictures(recipe.seed, range(min(CHUNK, recipe.num_vae_pictures))))
    vae.register_to_config(scaling_factor=1 / encoded(vae, pixels).std().item())


def encoded(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Return the means of latents (B, 4, h, w)."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior: Any = vae.encode(pixels)
    return posterior.latent_dist.mean.float()


@torch.no_grad()
def latents(recipe: Recipe, stage: Stage, vae: AutoencoderKL, work: Path) -> Tensor:
    """Return the scaled latents of a stage in float16, (N, 4, h, w)."""
    file = work / f"latents_{stage.side}.safetensors"
    if not file.exists():
        found: list[Tensor] = []
        for start in range(0, stage.num_pictures, CHUNK):
            stop = min(start + CHUNK, stage.num_pictures)
            pixels = to_pixels(pictures(recipe.seed, range(start, stop), stage.side))
            found.append((encoded(vae, pixels) * vae.config["scaling_factor"]).half())
            print(f"latents {stop}/{stage.num_pictures}")
        write_atomic(file, save({"latents": torch.cat(found).contiguous()}))
    return load_file(file)["latents"]


class Lesson:
    """The loss of each step of a stage."""

    def __init__(self, seed: int, stage: Stage, latents: Tensor) -> None:
        self.seed, self.stage, self.latents = seed, stage, latents

    @cached_property
    def noise_scheduler(self) -> DDPMScheduler:
        return make_noise_scheduler()

    def loss(self, model: Denoiser, step: int) -> Tensor:
        """Return the weighted error of the predicted noise."""
        size, views = self.stage.batch, self.stage.views
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        places = torch.randint(0, len(self.latents), (size // views,), generator=rng)
        prompts = [caption_number(self.seed, int(place), step) for place in places]
        dropped = torch.rand(len(prompts), generator=rng) < UNCONDITIONAL_SHARE
        prompts = ["" if drop else text for drop, text in zip(dropped, prompts, strict=True)]
        clean = self.latents[places].float().repeat(views, 1, 1, 1)  # (B, 4, h, w)
        noise = torch.randn(clean.shape, generator=rng)
        timesteps = torch.randint(0, 1000, (size,), generator=rng)
        noisy_latents = self.noise_scheduler.add_noise(clean, noise, timesteps)  # pyright: ignore
        with torch.autocast("cpu", torch.bfloat16):
            prompt_embeds = encode(model.text_encoder, prompts).bfloat16()
            model_pred = model.unet(noisy_latents, timesteps, prompt_embeds).sample
        error = F.mse_loss(model_pred.float(), noise, reduction="none").mean((1, 2, 3))  # (B,)
        return (error * min_snr_weight(self.noise_scheduler, timesteps, SNR_GAMMA)).mean()


def fit_denoiser(recipe: Recipe, vae: AutoencoderKL, work: Path, *, so_far: bool) -> Denoiser:
    """Train the U-Net and text encoder; return them with averaged weights.

    Args:
        so_far: stop training, and use the weights as they are.
    """
    torch.manual_seed(recipe.seed)
    model = Denoiser()
    for stage in recipe.stages:
        state = work / f"unet_{stage.side}_state.safetensors"
        if so_far and state.exists():
            load_average(model, state)
        elif not so_far:
            model.text_encoder.requires_grad_(stage.learns_text)
            lesson = Lesson(recipe.seed, stage, latents(recipe, stage, vae, work))
            load_into(model, fit(model, partial(lesson.loss, model), stage.plan, state))
    return model.eval().requires_grad_(False)


def save_packed(model: Denoiser, vae: AutoencoderKL, file: Path) -> None:
    """Write the packed model, with its SHA-256 next to it."""
    data = pack(model.unet, model.text_encoder, vae)
    write_weights(file, data)


def fit_model(recipe: Recipe, work: Path, *, so_far: bool = False) -> Path:
    """Train all parts, or resume their training; return the path of the packed file.

    Args:
        so_far: stop training, and use the weights as they are.
    """
    work.mkdir(parents=True, exist_ok=True)
    vae = fit_vae(recipe, work)
    set_scaling_factor(vae, recipe)
    model = fit_denoiser(recipe, vae, work, so_far=so_far)
    save_packed(model, vae, work / "model.safetensors")
    return work / "model.safetensors"


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for states and result")
    parser.add_argument(
        "--so-far", action="store_true", help="write the model without further training"
    )
    options = parser.parse_args()
    fit_model(Recipe(), options.work, so_far=options.so_far)


if __name__ == "__main__":
    main()
