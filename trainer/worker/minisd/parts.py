"""The networks of the small model: Stable Diffusion 1's architecture in diffusers' layout.

Legend: B images, h w latent height and width (pixels / 4), L = 77 tokens, D = 768 text width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from ...config.model import EMBEDDED_SIDE_PX as SIDE_PX
from ...prompts.tokenizer import END, START, prompt_ids
from .names import words

__all__ = [
    "SIDE_PX",
    "TEXT_WIDTH",
    "TOKENS",
    "VAE_FACTOR",
    "VOCABULARY",
    "encode",
    "make_text_encoder",
    "make_unet",
    "make_vae",
]

VAE_FACTOR = 4
VOCABULARY = 49408
TEXT_WIDTH = 768  # identifies Stable Diffusion 1
TOKENS = sorted({token for word in (*words(), ",") for token in prompt_ids(word)})


def make_vae() -> AutoencoderKL:
    """Return a new VAE: four latent channels, a quarter of the image's side."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
        block_out_channels=(16, 48, 96),  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIDE_PX,
        mid_block_add_attention=False,
    )


def make_unet() -> UNet2DConditionModel:
    """Return a new U-Net: three levels, all but the finest with attention to the text."""
    return UNet2DConditionModel(
        sample_size=SIDE_PX // VAE_FACTOR,
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # the number of heads in diffusers; more are slow on a CPU
    )


def make_text_encoder(num_tokens: int = len(TOKENS)) -> CLIPTextModel:
    """Return a new CLIP text encoder with two layers.

    Args:
        num_tokens: size of its vocabulary; by default only `TOKENS`, in that order.
    """
    whole = num_tokens == VOCABULARY
    config = CLIPTextConfig(
        vocab_size=num_tokens,
        hidden_size=TEXT_WIDTH,
        intermediate_size=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=12,
        bos_token_id=START if whole else TOKENS.index(START),
        eos_token_id=END if whole else TOKENS.index(END),
        pad_token_id=END if whole else TOKENS.index(END),
    )
    return CLIPTextModel(config)


def encode(text_encoder: CLIPTextModel, prompts: Sequence[str]) -> Tensor:
    """Encode prompts with a text encoder that only knows `TOKENS`, (B, L, D)."""
    rows = torch.tensor([[TOKENS.index(i) for i in prompt_ids(text)] for text in prompts])
    return text_encoder(rows).last_hidden_state
