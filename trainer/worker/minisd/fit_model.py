"""The small model's training from scratch: `python -m trainer.worker.minisd.fit_model --work DIR`.

First the VAE on crops of pictures, then the pictures' latents once and for all, then U-Net and text
encoder together. Every stage is seeded, and goes on from what the folder holds.

Legend: B pictures, H W pixels, h w latent height and width (pixels / 8).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...run import write_atomic
from .dataset import caption_number, pictures, to_pixels
from .fit import Plan, fit, load_average
from .parts import (
    SIDE_PX,
    encode,
    make_noise_scheduler,
    make_text_encoder,
    make_unet,
    make_vae,
)

CROP_PX = 64
KL_WEIGHT = 1e-6
UNCONDITIONAL_SHARE = 0.1  # of captions left out, for classifier-free guidance
SNR_GAMMA = 5.0  # arXiv 2303.09556: the hardly noised steps teach little, so they weigh less
CHUNK = 256  # pictures rendered and encoded at a time
NUM_SCALES = 5  # at which pictures are compared; the coarse ones teach colours
CRISPNESS = 0.5  # weight of differences between neighbouring pixels


@dataclass(frozen=True)
class Recipe:
    """All that shapes the model."""

    seed: int = 1
    num_vae_pictures: int = 8192
    num_pictures: int = 50_000
    vae_batch: int = 16
    batch: int = 32
    vae: Plan = Plan(7000, 1.5e-3, warmup=100, averaging=200)
    unet: Plan = Plan(40_000, 5e-4)


class Denoiser(nn.Module):
    """U-Net and text encoder, which learn together."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = make_unet()
        self.text_encoder = make_text_encoder()


def fit_vae(recipe: Recipe, work: Path) -> AutoencoderKL:
    """Learn to reproduce pictures; gives the VAE with averaged weights."""
    torch.manual_seed(recipe.seed)
    vae = make_vae()
    images = pictures(recipe.seed, range(recipe.num_vae_pictures))  # (N, H, W, 3)

    def step_loss(step: int) -> Tensor:
        rng = np.random.Generator(np.random.PCG64((recipe.seed, step)))
        places = rng.integers(0, len(images), recipe.vae_batch)
        corners = rng.integers(0, SIDE_PX - CROP_PX + 1, (recipe.vae_batch, 2))
        crops = [
            images[place, y : y + CROP_PX, x : x + CROP_PX]
            for place, (y, x) in zip(places, corners, strict=True)
        ]
        return vae_loss(vae, to_pixels(np.stack(crops)), step)

    load_into(vae, fit(vae, step_loss, recipe.vae, work / "vae_state.safetensors"))
    return vae.eval().requires_grad_(False)


def load_into(model: nn.Module, weights: dict[str, Tensor]) -> None:
    model.load_state_dict(weights, strict=False)


def vae_loss(vae: AutoencoderKL, pixels: Tensor, seed: int) -> Tensor:
    """Difference in colours and edges at several scales, and a touch of order in the latents."""
    rng = torch.Generator().manual_seed(seed)
    with torch.autocast("cpu", torch.bfloat16):
        posterior: Any = vae.encode(pixels).latent_dist  # pyright: ignore
        decoded: Any = vae.decode(posterior.sample(rng)).sample  # pyright: ignore
    loss = KL_WEIGHT * posterior.kl().mean()
    found = decoded.float()
    for _ in range(NUM_SCALES):
        loss = loss + F.l1_loss(found, pixels) + CRISPNESS * edge_loss(found, pixels)
        found, pixels = F.avg_pool2d(found, 2), F.avg_pool2d(pixels, 2)
    return loss


def edge_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean difference of the steps from pixel to pixel, (B, 3, H, W)."""
    difference = found - wanted
    across, down = difference.diff(dim=-1), difference.diff(dim=-2)
    return across.abs().mean() + down.abs().mean()


@torch.no_grad()
def latents(recipe: Recipe, vae: AutoencoderKL, work: Path) -> Tensor:
    """(N, 4, h, w) means in float16, scaled to unit spread by the VAE's own factor."""
    file = work / "latents.safetensors"
    if not file.exists():
        found: list[Tensor] = []
        for start in range(0, recipe.num_pictures, CHUNK):
            stop = min(start + CHUNK, recipe.num_pictures)
            pixels = to_pixels(pictures(recipe.seed, range(start, stop)))
            encoded: Any = vae.encode(pixels)
            found.append(encoded.latent_dist.mean)
            print(f"latents {stop}/{recipe.num_pictures}")
        means = torch.cat(found)
        factor = torch.tensor(1 / means.std().item())
        write_atomic(file, save({"latents": (means * factor).half(), "scaling_factor": factor}))
    kept = load_file(file)
    vae.register_to_config(scaling_factor=kept["scaling_factor"].item())
    return kept["latents"]


class Lesson:
    """What U-Net and text encoder are shown in each step."""

    def __init__(self, recipe: Recipe, latents: Tensor) -> None:
        self.recipe, self.latents = recipe, latents

    @cached_property
    def alphas(self) -> Tensor:
        """(1000,) the share of the picture in what a timestep shows, squared."""
        return make_noise_scheduler().alphas_cumprod

    def loss(self, model: Denoiser, step: int) -> Tensor:
        """Weighted error of the predicted noise."""
        recipe, size = self.recipe, self.recipe.batch
        rng = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        places = torch.randint(0, len(self.latents), (size,), generator=rng)
        clean = self.latents[places].float()  # (B, 4, h, w)
        noise = torch.randn(clean.shape, generator=rng)
        timesteps = torch.randint(0, 1000, (size,), generator=rng)
        alphas = self.alphas[timesteps]  # (B,)
        share = alphas[:, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        prompts = [caption_number(recipe.seed, int(place), step) for place in places]
        dropped = torch.rand(size, generator=rng) < UNCONDITIONAL_SHARE
        prompts = ["" if drop else text for drop, text in zip(dropped, prompts, strict=True)]
        with torch.autocast("cpu", torch.bfloat16):
            found = model.unet(noisy, timesteps, encode(model.text_encoder, prompts)).sample
        error = F.mse_loss(found.float(), noise, reduction="none").mean((1, 2, 3))  # (B,)
        snr = alphas / (1 - alphas)
        return (error * snr.clamp(max=SNR_GAMMA) / snr).mean()


def fit_denoiser(recipe: Recipe, latents: Tensor, work: Path) -> Denoiser:
    """Learn to predict the noise in latents from captions; gives the averaged weights."""
    torch.manual_seed(recipe.seed)
    model, lesson = Denoiser(), Lesson(recipe, latents)
    weights = fit(
        model, lambda step: lesson.loss(model, step), recipe.unet, work / "unet_state.safetensors"
    )
    load_into(model, weights)
    return model.eval().requires_grad_(False)


def save_folder(model: Denoiser, vae: AutoencoderKL, folder: Path) -> None:
    """Write the model in diffusers' layout."""
    model.unet.save_pretrained(folder / "unet")
    model.text_encoder.save_pretrained(folder / "text_encoder")
    vae.save_pretrained(folder / "vae")
    make_noise_scheduler().save_pretrained(folder / "scheduler")
    write_atomic(folder / "model_index.json", '{"_class_name": "StableDiffusionPipeline"}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for states and result")
    parser.add_argument("--so-far", action="store_true", help="write the model as it is by now")
    options = parser.parse_args()
    recipe, work = Recipe(), options.work
    work.mkdir(parents=True, exist_ok=True)
    vae = fit_vae(recipe, work)
    found = latents(recipe, vae, work)
    if options.so_far:
        model = Denoiser()
        load_average(model, work / "unet_state.safetensors")
    else:
        model = fit_denoiser(recipe, found, work)
    save_folder(model, vae, work / "model")


if __name__ == "__main__":
    main()
