"""Noise, predict, weigh: one batch to one loss.

Legend: B images, C latent channels, h w latent height and width, L tokens, D text
width, P pooled text width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor

from ..base.prompts import PromptEmbeds


@dataclass(frozen=True)
class Batch:
    """Images of one shape with all that their loss depends on.

    Prior preservation is a weight per image: instance images weigh 1 / (instance images of the
    step), class images prior_loss_weight / (class images of the step), so that the weighted sum
    over a step's batches is the paper's sum of two means (arXiv 2208.12242, eq. 1).
    """

    latents: Tensor  # (B, C, h, w), scaled
    noise: Tensor  # (B, C, h, w)
    timesteps: Tensor  # (B,)
    prompts: PromptEmbeds  # (B, L, D) and (B, P)
    time_ids: Tensor | None  # (B, 6): original size, crop top left, target size; SDXL only
    loss_weight: Tensor  # (B,)
    is_class: Tensor  # (B,)
    base_prompts: PromptEmbeds | None = None  # by frozen text encoders, if the base is the target

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.latents.to(device),
            self.noise.to(device),
            self.timesteps.to(device),
            self.prompts.to(device),
            None if self.time_ids is None else self.time_ids.to(device),
            self.loss_weight.to(device),
            self.is_class.to(device),
            None if self.base_prompts is None else self.base_prompts.to(device),
        )


def diffusion_loss(
    unet: Any,
    noise_scheduler: DDPMScheduler,
    batch: Batch,
    snr_gamma: float | None = None,
    as_base: Callable[[], AbstractContextManager[None]] | None = None,
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the images' errors, and each image's unweighted error (B,).

    Args:
        as_base: within it the U-Net is the frozen base; needed where the batch has `base_prompts`.
    """
    noisy_latents = noise_scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)  # pyright: ignore
    target = prediction_target(noise_scheduler, batch).float()
    if batch.base_prompts is not None and batch.is_class.any():
        assert as_base is not None
        rows = batch.is_class.nonzero()[:, 0]
        with torch.no_grad(), as_base():
            predicted = predict(unet, noisy_latents, batch, batch.base_prompts, rows)
        target = target.index_copy(0, rows, predicted)
    model_pred = predict(unet, noisy_latents, batch, batch.prompts)
    error = F.mse_loss(model_pred, target, reduction="none").mean((1, 2, 3))  # (B,)
    weight = batch.loss_weight
    if snr_gamma is not None:
        weight = weight * min_snr_weight(noise_scheduler, batch.timesteps, snr_gamma)
    return (error * weight).sum(), error.detach()


def predict(
    unet: Any,
    noisy_latents: Tensor,
    batch: Batch,
    prompts: PromptEmbeds,
    rows: Tensor | slice = slice(None),
) -> Tensor:
    """The U-Net's prediction for some rows of a batch, (rows, C, h, w) in float32."""
    conditions = None
    if batch.time_ids is not None:
        assert prompts.pooled is not None
        conditions = {"text_embeds": prompts.pooled[rows], "time_ids": batch.time_ids[rows]}
    return unet(
        noisy_latents[rows],
        batch.timesteps[rows],
        prompts.embeds[rows],
        added_cond_kwargs=conditions,
    ).sample.float()


def prediction_target(noise_scheduler: DDPMScheduler, batch: Batch) -> Tensor:
    """The noise, or the velocity (arXiv 2202.00512, section 4), that the model should predict."""
    if noise_scheduler.config["prediction_type"] == "v_prediction":
        return noise_scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)  # pyright: ignore
    return batch.noise


def min_snr_weight(noise_scheduler: DDPMScheduler, timesteps: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights (arXiv 2303.09556, section 3.4) for noise or velocity targets, (B,)."""
    alphas = noise_scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    snr = alphas / (1 - alphas)
    clipped = snr.clamp(max=gamma)
    if noise_scheduler.config["prediction_type"] == "v_prediction":
        return clipped / (snr + 1)
    return torch.where(snr > 0, clipped / snr, torch.ones_like(snr))
