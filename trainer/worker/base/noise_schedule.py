"""The noise schedules of bases: Stable Diffusion's own, or a diffusers folder's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler

from ...config.model import PredictionType

__all__ = ["make_noise_scheduler", "read_noise_scheduler"]


def make_noise_scheduler(
    prediction_type: PredictionType = "epsilon", *, zero_snr: bool = False
) -> DDPMScheduler:
    """Return Stable Diffusion's own schedule: 1000 scaled-linear steps."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,  # pyright: ignore[reportArgumentType]
        rescale_betas_zero_snr=zero_snr,
    )


def read_noise_scheduler(folder: Path, prediction_type: PredictionType) -> DDPMScheduler:
    """Return the schedule from a diffusers folder's `scheduler`."""
    options = {"clip_sample": False, "prediction_type": prediction_type}
    found: Any = DDPMScheduler.from_pretrained(folder, **options)
    return found
