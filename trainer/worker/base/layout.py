"""Names of weights in the original (LDM/SGM) checkpoint layout and in diffusers and CLIP models.

The original layout numbers the U-Net's blocks in one row; diffusers groups them by resolution. Both
directions are needed: to read checkpoints, and to write them in the layout that every host opens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]
Pairs = list[tuple[str, str]]  # (original prefix, diffusers prefix)

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
RESNET = [
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
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


@dataclass(frozen=True)
class Level:
    """One resolution of the U-Net: its channels and the transformer depth of its blocks."""

    channels: int
    num_blocks: int
    depth: int


def unet_levels(shapes: Shapes) -> list[Level]:
    """Read the resolutions of a U-Net from the shapes of its original layout."""
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


def transformer_depth(shapes: Iterable[str], prefix: str) -> int:
    """Count the transformer blocks under a prefix."""
    pattern = re.compile(re.escape(prefix) + r"\.transformer_blocks\.(\d+)\.")
    found = [int(match[1]) for match in map(pattern.match, shapes) if match]
    return max(found, default=-1) + 1


def unet_config(shapes: Shapes, num_heads: int | None) -> dict[str, Any]:
    """Arguments of diffusers' UNet2DConditionModel for a U-Net in the original layout.

    Args:
        shapes: weight shapes without the checkpoint's prefix.
        num_heads: attention heads of every layer; None: one head per 64 channels.
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
    """Original and diffusers prefixes of every part of a U-Net."""
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


def vae_config(shapes: Shapes, scaling_factor: float) -> dict[str, Any]:
    """Arguments of diffusers' AutoencoderKL for a VAE in the original layout."""
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
    """Original and diffusers prefixes of every part of an AutoencoderKL."""
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


def renamed(original: str, diffusers: str, parts: Pairs) -> Pairs:
    return [(f"{original}.{a}", f"{diffusers}.{b}") for a, b in parts]


def rename(weights: Mapping[str, Tensor], pairs: Pairs) -> Weights:
    """Give each weight the name of the longest prefix that matches; others keep theirs."""
    table = dict(pairs)
    return {new_name(key, table): value for key, value in weights.items()}


def new_name(key: str, table: Mapping[str, str]) -> str:
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in table:
            return ".".join([table[prefix], *parts[length:]])
    return key


def unet_to_diffusers(weights: Weights, levels: list[Level]) -> Weights:
    """Rename U-Net weights (without the checkpoint's prefix) to diffusers' names."""
    return rename(weights, unet_pairs(levels))


def unet_from_diffusers(weights: Weights, levels: list[Level]) -> Weights:
    return rename(weights, [(b, a) for a, b in unet_pairs(levels)])


def vae_to_diffusers(weights: Weights) -> Weights:
    """Rename VAE weights to diffusers' names; its attention's 1x1 convolutions become linear."""
    named = rename(weights, vae_pairs(vae_levels(weights)))
    named = {key.replace("nin_shortcut", "conv_shortcut"): v for key, v in named.items()}
    return {k: v[..., 0, 0] if is_vae_attention(k) and v.ndim == 4 else v for k, v in named.items()}


def vae_from_diffusers(weights: Weights, num_levels: int) -> Weights:
    weights = {k: v[..., None, None] if is_vae_attention(k) and v.ndim == 2 else v
               for k, v in weights.items()}  # fmt: skip
    pairs = vae_pairs(num_levels)
    for side in ("encoder", "decoder"):
        mid, old_mid = f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0"
        pairs += renamed(mid, old_mid, OLD_VAE_ATTENTION)
    named = rename(weights, [(b, a) for a, b in pairs])
    return {key.replace("conv_shortcut", "nin_shortcut"): v for key, v in named.items()}


def is_vae_attention(key: str) -> bool:
    return ".attentions.0." in key


OPEN_CLIP = [
    ("token_embedding", "text_model.embeddings.token_embedding"),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final", "text_model.final_layer_norm"),
    ("transformer.resblocks", "text_model.encoder.layers"),
]
OPEN_CLIP_LAYER = [
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
]


def open_clip_to_clip(weights: Weights) -> Weights:
    """Rename OpenCLIP text weights to CLIPTextModelWithProjection's; q, k and v are split."""
    named: Weights = {}
    for key, value in weights.items():
        for original, ours in [*OPEN_CLIP, *OPEN_CLIP_LAYER]:
            key = key.replace(original, ours)
        if ".attn.in_proj_" in key:
            for name, part in zip("qkv", value.chunk(3), strict=True):
                named[key.replace(".attn.in_proj_", f".self_attn.{name}_proj.")] = part
        elif key == "text_projection":
            named["text_projection.weight"] = value.T.contiguous()
        elif key.startswith("text_model."):
            named[key] = value
    return named


def clip_to_open_clip(weights: Weights) -> Weights:
    """The inverse of `open_clip_to_clip`."""
    named: Weights = {}
    for key, value in weights.items():
        for original, ours in [*OPEN_CLIP, *OPEN_CLIP_LAYER]:
            key = key.replace(ours, original)
        named[key] = value
    for key in [key for key in named if ".self_attn.q_proj." in key]:
        parts = [named.pop(key.replace(".q_proj.", f".{name}_proj.")) for name in "qkv"]
        named[key.replace(".self_attn.q_proj.", ".attn.in_proj_")] = torch.cat(parts)
    if "text_projection.weight" in named:
        named["text_projection"] = named.pop("text_projection.weight").T.contiguous()
    return named


def clip_config(weights: Mapping[str, Tensor], hidden_act: str) -> dict[str, Any]:
    """Arguments of CLIPTextConfig for weights named as in CLIPTextModelWithProjection."""
    vocab_size, width = weights["text_model.embeddings.token_embedding.weight"].shape
    layers = [int(m[1]) for m in (re.search(r"layers\.(\d+)\.", key) for key in weights) if m]
    projection = weights.get("text_projection.weight")
    return {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "intermediate_size": weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": max(layers) + 1,
        "num_attention_heads": max(1, width // 64),
        "projection_dim": width if projection is None else projection.shape[0],
        "hidden_act": hidden_act,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    }
