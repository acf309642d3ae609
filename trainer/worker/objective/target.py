"""What the model should predict.

Legend: B images, C latent channels, h w latent height and width.
"""

from __future__ import annotations

from diffusers import DDPMScheduler
from torch import Tensor

from ..data.batches import Batch
from ..trainable.model import ModelInTraining

__all__ = ["prediction_target", "training_target"]


def training_target(model: ModelInTraining, batch: Batch, noisy_latents: Tensor) -> Tensor:
    """Return the target of every image, (B, C, h, w) in float32.

    It is the noise or velocity; for images of sets whose target is the base, what the frozen base
    predicts for the same noisy latents and prompt.
    """
    target = prediction_target(model.noise_scheduler, batch).float()
    if batch.to_base is None:
        return target
    rows = batch.to_base.nonzero()[:, 0]
    with model.as_base():
        prompts = model.encode(batch.prompts)
        time_ids = None if prompts.pooled is None else batch.time_ids[rows]
        predicted = model.predict(
            noisy_latents[rows], batch.timesteps[rows], prompts[rows], time_ids
        )
    return target.index_copy(0, rows, predicted)


def prediction_target(noise_scheduler: DDPMScheduler, batch: Batch) -> Tensor:
    """Return the noise, or the velocity (arXiv 2202.00512, section 4), of every image."""
    if noise_scheduler.config["prediction_type"] == "v_prediction":
        return noise_scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)  # pyright: ignore
    return batch.noise
