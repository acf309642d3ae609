"""Pictures drawn by the model: samples while training, and class images.

Legend: B images, C latent channels, h w latent height and width, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DPMSolverMultistepScheduler
from PIL import Image
from torch import Tensor

from ..base.models import vae_factor
from ..base.prompts import PromptEmbeds
from ..randomness import generator


@dataclass(frozen=True)
class Sampler:
    """What every picture of a series has in common.

    Args:
        size: height and width in pixels.
        on_step: called after every sampling step; may raise Stop.
    """

    size: tuple[int, int]
    guidance_scale: float
    inference_steps: int
    on_step: Callable[[], None]


@dataclass(frozen=True)
class Drawer:
    """The parts of a model that draw."""

    unet: Any
    vae: AutoencoderKL
    noise_scheduler: DDPMScheduler
    device: torch.device
    dtype: torch.dtype


@torch.no_grad()
def draw(
    drawer: Drawer, sampler: Sampler, prompts: PromptEmbeds, negative: PromptEmbeds, noise: Tensor
) -> list[Image.Image]:
    """Draw one picture per prompt by DPM-Solver++(2M) with classifier-free guidance.

    Args:
        prompts: (B, L, D); `negative` is one row, used for all.
        noise: (B, C, h, w), standard normal.
    """
    solver: Any = DPMSolverMultistepScheduler.from_config(
        drawer.noise_scheduler.config, timestep_spacing="trailing"
    )
    solver.set_timesteps(sampler.inference_steps, device=drawer.device)
    conditions = guided_conditions(drawer, sampler, prompts, negative)
    latents = noise.to(drawer.device) * solver.init_noise_sigma
    for timestep in solver.timesteps:
        sampler.on_step()
        with precision(drawer.device, drawer.dtype):
            double = solver.scale_model_input(torch.cat([latents] * 2), timestep)
            model_pred = drawer.unet(double, timestep, **conditions).sample.float()
        without, with_prompt = model_pred.chunk(2)
        guided = without + sampler.guidance_scale * (with_prompt - without)
        latents = solver.step(guided, timestep, latents).prev_sample
    return decode(drawer, latents)


def guided_conditions(
    drawer: Drawer, sampler: Sampler, prompts: PromptEmbeds, negative: PromptEmbeds
) -> dict[str, Any]:
    """Arguments of the U-Net for [without prompt, with prompt] of every picture."""
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
    """Mixed precision where the base is in half precision: its adapters stay float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def decode(drawer: Drawer, latents: Tensor) -> list[Image.Image]:
    """Turn latents (B, C, h, w) into pictures, one at a time, in float32."""
    vae: Any = drawer.vae
    vae.to(drawer.device).enable_tiling()
    scaled = latents.float() / vae.config.scaling_factor
    pictures = [vae.decode(row[None]).sample[0] for row in scaled]  # (3, H, W)
    vae.disable_tiling()
    return [to_picture(picture) for picture in pictures]


def to_picture(pixels: Tensor) -> Image.Image:
    """Turn (3, H, W) in -1..1 into a picture.

    Raises:
        FloatingPointError: a value is not finite, which would show as a black picture.
    """
    if not torch.isfinite(pixels).all():
        raise FloatingPointError("The model drew values that are no numbers.")
    array = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array.astype(np.uint8))


def starting_noise(drawer: Drawer, sampler: Sampler, seed: int) -> Tensor:
    """The noise (1, C, h, w) of one picture, from its own seed."""
    height, width = (side // vae_factor(drawer.vae) for side in sampler.size)
    shape = (1, drawer.vae.config["latent_channels"], height, width)
    return torch.randn(shape, generator=generator(seed, "sample"))
