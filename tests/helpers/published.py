"""Checkpoints in the published layouts and sizes, whose contents are a hole in the file."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from benchmarks.random_checkpoint import (
    CLIP_L,
    OPEN_CLIP_G,
    OPEN_CLIP_H,
    UNETS,
    make_text_encoder,
    make_unet,
    make_vae,
)
from trainer.model_files.unet_structure import Level
from trainer.worker.base import text_layout, unet_layout, vae_layout

from .model_files import UNET, Shapes

DTYPE_BYTES = {"F16": 2, "F32": 4, "F8_E4M3": 1, "I8": 1, "U8": 1, "I64": 8}
SDXL_SIZES: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
DISTILLED: dict[str, tuple[list[Level], dict[str, Any]]] = {
    "SSD-1B": (
        [
            Level(320, (0, 0), (0, 0, 0)),
            Level(640, (2, 2), (2, 1, 1)),
            Level(1280, (4, 4), (4, 4, 10)),
        ],
        {
            "transformer_layers_per_block": [1, [2, 2], [4, 4]],
            "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
            "mid_block_type": "UNetMidBlock2D",
        },
    ),
    "Segmind-Vega": (
        [
            Level(320, (0, 0), (0, 0, 0)),
            Level(640, (1, 1), (1, 1, 1)),
            Level(1280, (2, 2), (2, 2, 2)),
        ],
        {"transformer_layers_per_block": [1, 1, 2], "mid_block_type": "UNetMidBlock2D"},
    ),
}


def shapes_of(weights: Mapping[str, torch.Tensor], prefix: str) -> Shapes:
    return {prefix + name: tuple(value.shape) for name, value in weights.items()}


@cache
def unet_shapes(model: str) -> Shapes:
    """The U-Net of "sd1", "sd2", "sdxl" or of a distilled SDXL."""
    if model in DISTILLED:
        levels, config = DISTILLED[model]
        with torch.device("meta"):
            unet = UNet2DConditionModel(**SDXL_SIZES, **config)
    else:
        size = UNETS[model, "full"]
        pairs = zip(size.channels, size.depths, strict=True)
        levels = [Level.even(channels, size.num_blocks, depth) for channels, depth in pairs]
        unet = make_unet(model, "full")
    weights = unet_layout.unet_from_diffusers(dict(unet.named_parameters()), levels)
    return shapes_of(weights, UNET)


@cache
def vae_shapes() -> Shapes:
    weights = vae_layout.vae_from_diffusers(dict(make_vae("full").named_parameters()), 4)
    return shapes_of(weights, "first_stage_model.")


@cache
def text_shapes(family: str) -> Shapes:
    def encoder(sizes: dict[str, int], prefix: str, open_clip: bool) -> Shapes:
        model = make_text_encoder(sizes, projected=open_clip, tiny=False)
        weights: dict[str, torch.Tensor] = {
            name if name.startswith("text_") else f"text_model.{name}": value
            for name, value in model.named_parameters()
        }
        return shapes_of(text_layout.clip_to_open_clip(weights) if open_clip else weights, prefix)

    if family == "sd1":
        return encoder(CLIP_L, "cond_stage_model.transformer.", False)
    if family == "sd2":
        return encoder(OPEN_CLIP_H, "cond_stage_model.model.", True)
    first = encoder(CLIP_L, "conditioner.embedders.0.transformer.", False)
    return first | encoder(OPEN_CLIP_G, "conditioner.embedders.1.model.", True)


def published(model: str, *, vae: bool = True) -> Shapes:
    """All tensors of a published checkpoint."""
    family = "sdxl" if model in DISTILLED else model
    return unet_shapes(model) | text_shapes(family) | (vae_shapes() if vae else {})


def write_hole(
    path: Path, shapes: Shapes, dtype_of: Callable[[str], str] = lambda name: "F16"
) -> Path:
    """A file of these tensors, all zero, which takes no space."""
    document: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = DTYPE_BYTES[dtype_of(name)]
        for side in shape:
            size *= side
        entry = {"dtype": dtype_of(name), "shape": shape, "data_offsets": [end, end + size]}
        document[name] = entry
        end += size
    text = json.dumps(document).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path
