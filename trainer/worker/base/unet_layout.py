"""The U-Net in the original (LDM/SGM) checkpoint layout and in diffusers'.

The original layout numbers all blocks consecutively; diffusers groups them by resolution. Both
directions are needed: to read checkpoints, and to write them in the layout that every host opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...model_files.unet_structure import Level, UNetStructure
from .renaming import Pairs, Weights, inverse, rename, renamed

__all__ = [
    "folder_levels",
    "unet_config",
    "unet_from_diffusers",
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


def folder_levels(config: Mapping[str, Any]) -> list[Level]:
    """Return the resolutions of a U-Net, from its config in diffusers."""
    kinds, up = config["down_block_types"], config.get("reverse_transformer_layers_per_block")
    levels: list[Level] = []
    for i, kind in enumerate(kinds):
        count = of_level(config["layers_per_block"], i)
        depth = of_level(config["transformer_layers_per_block"], i)
        up_depth = depth if up is None else up[len(kinds) - 1 - i]
        level = Level(
            of_level(config["block_out_channels"], i),
            of_blocks(depth, count) if "CrossAttn" in kind else (0,) * count,
            of_blocks(up_depth, count + 1) if "CrossAttn" in kind else (0,) * (count + 1),
        )
        levels.append(level)
    return levels


def of_level(values: Any, level: int) -> Any:
    return values if isinstance(values, int) else values[level]


def of_blocks(depth: Any, count: int) -> tuple[int, ...]:
    return (depth,) * count if isinstance(depth, int) else tuple(depth)


def unet_config(unet: UNetStructure, num_heads: int | None) -> dict[str, Any]:
    """Return UNet2DConditionModel's arguments for a U-Net's structure.

    Args:
        num_heads: attention heads of every layer; None for one head per 64 channels.
    """
    levels = unet.levels
    depths = [list(level.depths) for level in levels]
    if unet.middle:  # diffusers reads the middle's depth from the last level
        depths[-1] = depths[-1] if any(depths[-1]) else [unet.middle] * len(depths[-1])
    config = {
        "in_channels": unet.in_channels,
        "out_channels": unet.out_channels,
        "block_out_channels": [level.channels for level in levels],
        "layers_per_block": [len(level.depths) for level in levels],
        "down_block_types": [
            "CrossAttnDownBlock2D" if any(level.depths) else "DownBlock2D" for level in levels
        ],
        "mid_block_type": middle_type(unet.middle),
        "up_block_types": [
            "CrossAttnUpBlock2D" if any(level.up_depths) else "UpBlock2D"
            for level in reversed(levels)
        ],
        "transformer_layers_per_block": depths,
        "reverse_transformer_layers_per_block": [
            list(level.up_depths) for level in reversed(levels)
        ],
        "attention_head_dim": [num_heads or max(1, level.channels // 64) for level in levels],
        "cross_attention_dim": unet.context,
        "use_linear_projection": unet.linear,
    }
    if unet.label_width is not None:
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        config |= {"projection_class_embeddings_input_dim": unet.label_width}
    return config


def middle_type(depth: int | None) -> str | None:
    if depth is None:
        return None
    return "UNetMidBlock2DCrossAttn" if depth else "UNetMidBlock2D"


def unet_pairs(levels: Sequence[Level]) -> Pairs:
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


def down_pairs(levels: Sequence[Level]) -> Pairs:
    pairs: Pairs = []
    index = 1
    for i, level in enumerate(levels):
        for j in range(len(level.depths)):
            pairs += renamed(f"input_blocks.{index}.0", f"down_blocks.{i}.resnets.{j}", RESNET)
            pairs.append((f"input_blocks.{index}.1", f"down_blocks.{i}.attentions.{j}"))
            index += 1
        pairs.append((f"input_blocks.{index}.0.op", f"down_blocks.{i}.downsamplers.0.conv"))
        index += 1
    return pairs


def up_pairs(levels: Sequence[Level]) -> Pairs:
    pairs: Pairs = []
    index = 0
    for i, level in enumerate(reversed(levels)):
        for j, depth in enumerate(level.up_depths):
            block = f"output_blocks.{index}"
            pairs += renamed(f"{block}.0", f"up_blocks.{i}.resnets.{j}", RESNET)
            if depth:
                pairs.append((f"{block}.1", f"up_blocks.{i}.attentions.{j}"))
            index += 1
        upsampler = f"output_blocks.{index - 1}.{2 if level.up_depths[-1] else 1}.conv"
        pairs.append((upsampler, f"up_blocks.{i}.upsamplers.0.conv"))
    return pairs


def unet_to_diffusers(weights: Weights, levels: Sequence[Level]) -> Weights:
    """Rename U-Net weights (without the checkpoint's prefix) to diffusers' names."""
    return rename(weights, unet_pairs(levels))


def unet_from_diffusers(weights: Weights, levels: Sequence[Level]) -> Weights:
    """Undo `unet_to_diffusers`."""
    return rename(weights, inverse(unet_pairs(levels)))
