"""Sampling: prompts and seeds to images.

Legend: B images, C latent channels, h w latent height and width, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
)
from PIL import Image
from torch import Tensor

from ...config.concept import ClassSampler
from ..base.models import vae_factor
from ..base.parts import Parts
from ..base.prompts import PromptEmbeds
from ..device.memory import free_bytes
from ..randomness import generator

__all__ = ["Drawer", "Sampler", "draw_series", "guided_conditions", "precision"]

DECODED_BYTES_PER_PIXEL = 3073  # by Stable Diffusion's VAE, traced: 3 GiB for 1024 x 1024
SOLVERS: dict[str, Any] = {
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler,
}


@dataclass(frozen=True)
class Sampler:
    """The settings that all images of a series share.

    Args:
        size: height and width in pixels.
        on_step: called before every sampling step; may raise Stop.
        solver: euler_ancestral adds new noise in every step, each image's from its own seed.
    """

    size: tuple[int, int]
    guidance_scale: float
    inference_steps: int
    on_step: Callable[[], None]
    solver: ClassSampler = "dpmpp_2m"

    @classmethod
    def square(
        cls,
        side: int,
        guidance_scale: float,
        inference_steps: int,
        on_step: Callable[[], None],
        solver: ClassSampler = "dpmpp_2m",
    ) -> Sampler:
        """Return a sampler of square images, `side` pixels wide."""
        return cls((side, side), guidance_scale, inference_steps, on_step, solver)

    def steps_of(self, noise_scheduler: DDPMScheduler, device: torch.device) -> Any:
        """Return diffusers' solver for a base's noise schedule, with its timesteps set."""
        solver = SOLVERS[self.solver].from_config(
            noise_scheduler.config, timestep_spacing="trailing"
        )
        solver.set_timesteps(self.inference_steps, device=device)
        return solver


@dataclass(frozen=True)
class Drawer:
    """The parts of a model that sampling needs."""

    unet: Any
    vae: AutoencoderKL
    noise_scheduler: DDPMScheduler
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, parts: Parts) -> Drawer:
        """Return the parts of a base, loaded."""
        return cls(parts.unet, parts.vae, parts.noise_scheduler, parts.device, parts.dtype)


def draw_series(
    drawer: Drawer,
    sampler: Sampler,
    prompts: Sequence[PromptEmbeds],
    negative: PromptEmbeds,
    seeds: Sequence[int],
    *,
    batch_size: int = 1,
) -> Iterator[Image.Image]:
    """Sample one image per prompt, each from its own seed.

    Args:
        prompts: one row each; `negative` is one row, used for all.
        batch_size: images sampled at once; it changes the results only by rounding.
    """
    for start in range(0, len(seeds), batch_size):
        some = slice(start, start + batch_size)
        yield from draw(drawer, sampler, PromptEmbeds.join(prompts[some]), negative, seeds[some])


@torch.no_grad()
def draw(
    drawer: Drawer,
    sampler: Sampler,
    prompts: PromptEmbeds,
    negative: PromptEmbeds,
    seeds: Sequence[int],
) -> list[Image.Image]:
    """Sample one image per prompt and seed with classifier-free guidance.

    Args:
        prompts: (B, L, D); `negative` is one row, used for all.
    """
    solver = sampler.steps_of(drawer.noise_scheduler, drawer.device)
    noise = torch.cat([starting_noise(drawer, sampler, seed) for seed in seeds])  # (B, C, h, w)
    further = [generator(seed, "sample steps") for seed in seeds]  # used by ancestral solvers
    conditions = guided_conditions(drawer, sampler, prompts, negative)
    latents = noise.to(drawer.device) * solver.init_noise_sigma
    for timestep in solver.timesteps:
        sampler.on_step()
        with precision(drawer.device, drawer.dtype):
            double = solver.scale_model_input(torch.cat([latents] * 2), timestep)
            model_pred = drawer.unet(double, timestep, **conditions).sample.float()
        without, with_prompt = model_pred.chunk(2)
        guided = without + sampler.guidance_scale * (with_prompt - without)
        latents = solver.step(guided, timestep, latents, generator=further).prev_sample
    return decode(drawer, latents)


def guided_conditions(
    drawer: Drawer, sampler: Sampler, prompts: PromptEmbeds, negative: PromptEmbeds
) -> dict[str, Any]:
    """Return the U-Net's arguments for [without prompt, with prompt] of every image."""
    count = len(prompts.embeds)
    both = torch.cat([negative.embeds.expand(count, -1, -1), prompts.embeds])
    conditions: dict[str, Any] = {"encoder_hidden_states": both.to(drawer.device, drawer.dtype)}
    if prompts.pooled is not None and negative.pooled is not None:
        pooled = torch.cat([negative.pooled.expand(count, -1), prompts.pooled])
        time_ids = torch.tensor([(*sampler.size, 0, 0, *sampler.size)] * 2 * count)
        conditions["added_cond_kwargs"] = {
            "text_embeds": pooled.to(drawer.device, drawer.dtype),
            "time_ids": time_ids.to(drawer.device),
        }
    return conditions


def precision(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Return an autocast context for a half-precision base, whose adapters stay float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def decode(drawer: Drawer, latents: Tensor) -> list[Image.Image]:
    """Decode latents (B, C, h, w) to images, one at a time, in float32.

    A large image is decoded in tiles only where memory is short: each has norms of its own, so
    that seams can show.
    """
    vae: Any = drawer.vae
    vae.to(drawer.device)
    needed = DECODED_BYTES_PER_PIXEL * vae_factor(vae) ** 2 * latents.shape[-2:].numel()
    if free_bytes(drawer.device) < 2 * needed:
        vae.enable_tiling()
    scaled = latents.float() / vae.config.scaling_factor
    pictures = [vae.decode(row[None]).sample[0] for row in scaled]  # (3, H, W)
    vae.disable_tiling()
    return [to_picture(picture) for picture in pictures]


def to_picture(pixels: Tensor) -> Image.Image:
    """Convert pixels (3, H, W) from -1 to 1 to an image.

    Raises:
        FloatingPointError: a value is NaN or infinite, which would appear as a black image.
    """
    if not torch.isfinite(pixels).all():
        raise FloatingPointError("The model produced NaN or infinite values instead of an image.")
    array = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array.astype(np.uint8))


def starting_noise(drawer: Drawer, sampler: Sampler, seed: int) -> Tensor:
    """Return the starting noise (1, C, h, w) of one image, from its seed."""
    height, width = (side // vae_factor(drawer.vae) for side in sampler.size)
    shape = (1, drawer.vae.config["latent_channels"], height, width)
    return torch.randn(shape, generator=generator(seed, "sample"))
