"""The VAE in the original (LDM/SGM) checkpoint layout and in diffusers'."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .renaming import Pairs, Shapes, Weights, inverse, rename, renamed

__all__ = [
    "vae_config",
    "vae_folder_levels",
    "vae_from_diffusers",
    "vae_to_diffusers",
]

VAE_ATTENTION = [
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
]
OLD_VAE_ATTENTION = [  # in diffusers of 2022
    ("q", "query"),
    ("k", "key"),
    ("v", "value"),
    ("proj_out", "proj_attn"),
]


def vae_config(shapes: Shapes, scaling_factor: float) -> dict[str, Any]:
    """Return AutoencoderKL's arguments for a VAE in the original layout."""
    num_levels = vae_levels(shapes)
    channels = [shapes[f"encoder.down.{i}.block.0.conv1.weight"][0] for i in range(num_levels)]
    blocks = [key for key in shapes if re.match(r"encoder\.down\.0\.block\.\d+\.conv1\.w", key)]
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * num_levels,
        "up_block_types": ["UpDecoderBlock2D"] * num_levels,
        "layers_per_block": len(blocks),
        "latent_channels": shapes["post_quant_conv.weight"][0],
        "norm_num_groups": min(32, channels[0]),
        "sample_size": 512,
        "scaling_factor": scaling_factor,
    }


def vae_levels(names: Iterable[str], pattern: str = r"encoder\.down\.(\d+)\.") -> int:
    """Count the resolutions of a VAE in the original layout."""
    return max(int(match[1]) for match in (re.match(pattern, name) for name in names) if match) + 1


def vae_folder_levels(names: Iterable[str]) -> int:
    """Count the resolutions of a VAE in diffusers' layout."""
    return vae_levels(names, r"encoder\.down_blocks\.(\d+)\.")


def vae_pairs(num_levels: int) -> Pairs:
    """Return the original and diffusers' prefixes of every part of an AutoencoderKL."""
    pairs: Pairs = []
    for side in ("encoder", "decoder"):
        pairs.append((f"{side}.norm_out", f"{side}.conv_norm_out"))
        pairs.append((f"{side}.mid.block_1", f"{side}.mid_block.resnets.0"))
        pairs.append((f"{side}.mid.block_2", f"{side}.mid_block.resnets.1"))
        pairs += renamed(f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0", VAE_ATTENTION)
    for i in range(num_levels):
        up = num_levels - 1 - i
        pairs.append((f"encoder.down.{i}.downsample", f"encoder.down_blocks.{i}.downsamplers.0"))
        pairs.append((f"encoder.down.{i}.block", f"encoder.down_blocks.{i}.resnets"))
        pairs.append((f"decoder.up.{i}.upsample", f"decoder.up_blocks.{up}.upsamplers.0"))
        pairs.append((f"decoder.up.{i}.block", f"decoder.up_blocks.{up}.resnets"))
    return pairs


def vae_to_diffusers(weights: Weights) -> Weights:
    """Rename VAE weights to diffusers' names; the attention's 1x1 convolutions become linear."""
    named = rename(weights, vae_pairs(vae_levels(weights)))
    named = {key.replace("nin_shortcut", "conv_shortcut"): v for key, v in named.items()}
    return {k: v[..., 0, 0] if is_vae_attention(k) and v.ndim == 4 else v for k, v in named.items()}


def vae_from_diffusers(weights: Weights, num_levels: int) -> Weights:
    """Undo `vae_to_diffusers`; attention names of 2022 are accepted too."""
    weights = {k: v[..., None, None] if is_vae_attention(k) and v.ndim == 2 else v
               for k, v in weights.items()}  # fmt: skip
    pairs = vae_pairs(num_levels)
    for side in ("encoder", "decoder"):
        mid, old_mid = f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0"
        pairs += renamed(mid, old_mid, OLD_VAE_ATTENTION)
    named = rename(weights, inverse(pairs))
    return {key.replace("conv_shortcut", "nin_shortcut"): v for key, v in named.items()}


def is_vae_attention(key: str) -> bool:
    return ".attentions.0." in key
