"""The U-Net in the original (LDM/SGM) checkpoint layout and in diffusers'.

The original layout numbers all blocks consecutively; diffusers groups them by resolution. Both
directions are needed: to read checkpoints, and to write them in the layout that every host opens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...model_files.kinds import UNET_PREFIX
from .renaming import Pairs, Shapes, Weights, inverse, rename, renamed

__all__ = [
    "UNET_PREFIX",
    "Level",
    "folder_levels",
    "unet_config",
    "unet_from_diffusers",
    "unet_levels",
    "unet_pairs",
    "unet_to_diffusers",
]

RESNET = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
]


@dataclass(frozen=True)
class Level:
    """One resolution of the U-Net: its channels, blocks and transformer depth."""

    channels: int
    num_blocks: int
    depth: int


def unet_levels(shapes: Shapes) -> list[Level]:
    """Return the resolutions of a U-Net, from its shapes in the original layout."""
    levels: list[Level] = []
    start = index = 1
    while True:
        is_block = f"input_blocks.{index}.0.out_layers.3.weight" in shapes
        if not is_block:
            first = f"input_blocks.{start}"
            channels = shapes[f"{first}.0.out_layers.3.weight"][0]
            levels.append(Level(channels, index - start, transformer_depth(shapes, f"{first}.1")))
            start = index + 1
        if not is_block and f"input_blocks.{index}.0.op.weight" not in shapes:
            return levels
        index += 1


def folder_levels(config: Mapping[str, Any]) -> list[Level]:
    """Return the resolutions of a U-Net, from its config in diffusers."""
    channels, blocks = config["block_out_channels"], config["layers_per_block"]
    depths = config["transformer_layers_per_block"]
    levels: list[Level] = []
    for i, kind in enumerate(config["down_block_types"]):
        depth = depths if isinstance(depths, int) else depths[i]
        count = blocks if isinstance(blocks, int) else blocks[i]
        levels.append(Level(channels[i], count, depth if "CrossAttn" in kind else 0))
    return levels


def transformer_depth(shapes: Iterable[str], prefix: str) -> int:
    """Count the transformer blocks under a prefix."""
    pattern = re.compile(re.escape(prefix) + r"\.transformer_blocks\.(\d+)\.")
    found = [int(match[1]) for match in map(pattern.match, shapes) if match]
    return max(found, default=-1) + 1


def unet_config(shapes: Shapes, num_heads: int | None) -> dict[str, Any]:
    """Return UNet2DConditionModel's arguments for a U-Net in the original layout.

    Args:
        shapes: weight shapes without the checkpoint's prefix.
        num_heads: attention heads of every layer; None for one head per 64 channels.
    """
    levels = unet_levels(shapes)
    middle_depth = transformer_depth(shapes, "middle_block.1")
    depths = [level.depth or 1 for level in levels[:-1]] + [middle_depth]
    any_attention = next(key for key in shapes if key.endswith("attn2.to_k.weight"))
    any_projection = next(key for key in shapes if key.endswith("1.proj_in.weight"))
    config = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": [level.channels for level in levels],
        "layers_per_block": levels[0].num_blocks,
        "down_block_types": [
            "CrossAttnDownBlock2D" if level.depth else "DownBlock2D" for level in levels
        ],
        "up_block_types": [
            "CrossAttnUpBlock2D" if level.depth else "UpBlock2D" for level in reversed(levels)
        ],
        "transformer_layers_per_block": depths,
        "attention_head_dim": [num_heads or level.channels // 64 for level in levels],
        "cross_attention_dim": shapes[any_attention][1],
        "use_linear_projection": len(shapes[any_projection]) == 2,
    }
    if "label_emb.0.0.weight" in shapes:
        size = shapes["label_emb.0.0.weight"][1]
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        config |= {"projection_class_embeddings_input_dim": size}
    return config


def unet_pairs(levels: list[Level]) -> Pairs:
    """Return the original and diffusers' prefixes of every part of a U-Net."""
    pairs = [
        ("input_blocks.0.0", "conv_in"),
        ("time_embed.0", "time_embedding.linear_1"),
        ("time_embed.2", "time_embedding.linear_2"),
        ("label_emb.0.0", "add_embedding.linear_1"),
        ("label_emb.0.2", "add_embedding.linear_2"),
        ("out.0", "conv_norm_out"),
        ("out.2", "conv_out"),
        ("middle_block.1", "mid_block.attentions.0"),
        *renamed("middle_block.0", "mid_block.resnets.0", RESNET),
        *renamed("middle_block.2", "mid_block.resnets.1", RESNET),
    ]
    return pairs + down_pairs(levels) + up_pairs(levels)


def down_pairs(levels: list[Level]) -> Pairs:
    pairs: Pairs = []
    index = 1
    for i, level in enumerate(levels):
        for j in range(level.num_blocks):
            pairs += renamed(f"input_blocks.{index}.0", f"down_blocks.{i}.resnets.{j}", RESNET)
            pairs.append((f"input_blocks.{index}.1", f"down_blocks.{i}.attentions.{j}"))
            index += 1
        pairs.append((f"input_blocks.{index}.0.op", f"down_blocks.{i}.downsamplers.0.conv"))
        index += 1
    return pairs


def up_pairs(levels: list[Level]) -> Pairs:
    pairs: Pairs = []
    index = 0
    for i, level in enumerate(reversed(levels)):
        for j in range(level.num_blocks + 1):
            block = f"output_blocks.{index}"
            pairs += renamed(f"{block}.0", f"up_blocks.{i}.resnets.{j}", RESNET)
            if level.depth:
                pairs.append((f"{block}.1", f"up_blocks.{i}.attentions.{j}"))
            index += 1
        upsampler = f"output_blocks.{index - 1}.{2 if level.depth else 1}.conv"
        pairs.append((upsampler, f"up_blocks.{i}.upsamplers.0.conv"))
    return pairs


def unet_to_diffusers(weights: Weights, levels: list[Level]) -> Weights:
    """Rename U-Net weights (without the checkpoint's prefix) to diffusers' names."""
    return rename(weights, unet_pairs(levels))


def unet_from_diffusers(weights: Weights, levels: list[Level]) -> Weights:
    """Undo `unet_to_diffusers`."""
    return rename(weights, inverse(unet_pairs(levels)))
