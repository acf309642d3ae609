"""CLIP's text encoders in OpenCLIP's checkpoint layout and in transformers'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...prompts.tokenizer import END, START
from .renaming import Weights

__all__ = ["clip_config", "clip_to_open_clip", "open_clip_to_clip"]

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
    """Rename OpenCLIP text weights to CLIPTextModelWithProjection's names; split q, k and v."""
    named: Weights = {}
    for key, value in weights.items():
        for original, ours in [*OPEN_CLIP, *OPEN_CLIP_LAYER]:
            key = key.replace(original, ours)
        if ".attn.in_proj_" in key:
            for name, part in zip("qkv", value.chunk(3), strict=True):
                named[key.replace(".attn.in_proj_", f".self_attn.{name}_proj.")] = part
        elif key == "text_projection":
            named["text_projection.weight"] = value.T.contiguous()
        elif key == "text_projection.weight" and "text_projection" not in weights:
            named[key] = value  # transformers' spelling, which is not transposed
        elif key.startswith("text_model."):
            named[key] = value
    return named


def clip_to_open_clip(weights: Weights) -> Weights:
    """Undo `open_clip_to_clip`."""
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
    """Return CLIPTextConfig's arguments for weights named as in CLIPTextModelWithProjection."""
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
        "bos_token_id": START,
        "eos_token_id": END,
    }
