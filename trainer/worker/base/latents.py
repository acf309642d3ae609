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
    """Return mean and standard deviation of one image's latents, scaled: (2, C, h, w).

    The VAE's distribution is far narrower than the training noise, so that the mean alone is
    usually trained.

    Args:
        pixels: (H, W, 3), uint8.
    """
    image = torch.from_numpy(pixels.copy()).to(vae.device).permute(2, 0, 1)[None]
    found = vae.encode(image.float() / 127.5 - 1).latent_dist  # pyright: ignore
    both = torch.cat([found.mean, found.std])
    return (both * vae.config["scaling_factor"]).float().cpu().contiguous()
