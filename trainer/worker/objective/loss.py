"""Noise, predict, weigh: one batch to one loss.

Legend: B images, C latent channels, h w latent height and width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..data.batches import Batch
from ..trainable.model import ModelInTraining
from .target import training_target
from .weighting import loss_weights

__all__ = ["ImageErrors", "diffusion_loss"]


@dataclass(frozen=True)
class ImageErrors:
    """The errors of a batch's images, for reports.

    Args:
        error: (B,) mean squared error of each image.
        weight: (B,) what each counts in the loss.
        is_class: (B,) class images.
    """

    error: Tensor
    weight: Tensor
    is_class: Tensor


def diffusion_loss(
    model: ModelInTraining, batch: Batch, snr_gamma: float | None = None
) -> tuple[Tensor, ImageErrors]:
    """Return the weighted sum of the images' errors, and what it is made of."""
    noisy_latents = model.noise_scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)  # pyright: ignore
    target = training_target(model, batch, noisy_latents)
    prompts = model.encode(batch.prompts)
    time_ids = None if prompts.pooled is None else batch.time_ids
    model_pred = model.predict(noisy_latents, batch.timesteps, prompts, time_ids)
    error = F.mse_loss(model_pred, target, reduction="none").mean((1, 2, 3))  # (B,)
    weight = loss_weights(model.noise_scheduler, batch, snr_gamma)
    return (error * weight).sum(), ImageErrors(error.detach(), weight, batch.is_class)
