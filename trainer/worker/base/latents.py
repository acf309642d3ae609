"""Pixels to latents.

Legend: C latent channels, H W height and width in pixels, h w of latents.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

__all__ = ["encode_image"]


@torch.no_grad()
def encode_image(vae: AutoencoderKL, pixels: np.ndarray) -> Tensor:
    """Return the mean of the VAE's latents for one image, times its scaling factor: (C, h, w).

    The distribution's spread is far below the training noise, so the mean loses nothing and can be
    cached.

    Args:
        pixels: (H, W, 3), uint8.
    """
    image = torch.from_numpy(pixels.copy()).to(vae.device).permute(2, 0, 1)[None]
    mean = vae.encode(image.float() / 127.5 - 1).latent_dist.mean  # pyright: ignore
    return (mean[0] * vae.config["scaling_factor"]).float().cpu().contiguous()
