"""A VAE built from the weights of a file, in the original or diffusers' layout."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from ...errors import ConfigError
from ...model_files.contents import VAE_PREFIX
from ...model_files.families import Family
from . import vae_layout
from .renaming import Weights
from .weights import complete, fill, read_weights

__all__ = ["build_vae", "load_vae_file"]


def load_vae_file(path: Path, family: Family) -> AutoencoderKL:
    """Return a VAE from its own file, with or without the checkpoint's prefix."""
    weights = read_weights(path, VAE_PREFIX, torch.float32)
    return build_vae(weights or read_weights(path, "", torch.float32), family, path)


def build_vae(weights: Weights, family: Family, path: Path) -> AutoencoderKL:
    """Build the VAE from weights in the original or diffusers' layout.

    Raises:
        ConfigError: the weights are not a complete AutoencoderKL.
    """
    if "encoder.conv_norm_out.weight" in weights:
        weights = vae_layout.vae_from_diffusers(weights, vae_layout.vae_folder_levels(weights))
    if "encoder.down.0.block.0.conv1.weight" not in weights:
        raise ConfigError(
            f"{path.name} does not contain a VAE in a supported layout.",
            "Use a VAE .safetensors file such as those in models/vae.",
        )
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    with complete("VAE", path), torch.device("meta"):
        vae = AutoencoderKL(**vae_layout.vae_config(shapes, family.scaling_factor))
        weights = vae_layout.vae_to_diffusers(weights)
    return fill(vae, weights, "VAE", path)
