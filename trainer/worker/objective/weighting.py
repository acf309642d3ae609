"""How much each image counts in the loss."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from ..data.batches import Batch

__all__ = ["loss_weights", "min_snr_weight"]


def loss_weights(noise_scheduler: DDPMScheduler, batch: Batch, snr_gamma: float | None) -> Tensor:
    """Return each image's weight in the loss, (B,).

    Args:
        snr_gamma: of min-SNR weighting; None: without it.
    """
    if snr_gamma is None:
        return batch.loss_weight
    return batch.loss_weight * min_snr_weight(noise_scheduler, batch.timesteps, snr_gamma)


def min_snr_weight(noise_scheduler: DDPMScheduler, timesteps: Tensor, gamma: float) -> Tensor:
    """Return min-SNR weights (arXiv 2303.09556, section 3.4) for noise or velocity, (B,)."""
    alphas = noise_scheduler.alphas_cumprod.to(timesteps.device)[timesteps]
    snr = alphas / (1 - alphas)
    clipped = snr.clamp(max=gamma)
    if noise_scheduler.config["prediction_type"] == "v_prediction":
        return clipped / (snr + 1)
    return torch.where(snr > 0, clipped / snr, torch.ones_like(snr))
