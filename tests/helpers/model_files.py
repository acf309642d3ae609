"""Tiny safetensors files with just the names and shapes that tell what a model is."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Shapes = dict[str, tuple[int, ...]]

UNET = "model.diffusion_model."
VAE: Shapes = {
    "first_stage_model.encoder.conv_in.weight": (1, 3, 1, 1),
    "first_stage_model.decoder.conv_in.weight": (1, 4, 1, 1),
}
TAESD: Shapes = {
    "first_stage_model.taesd_encoder.0.weight": (1, 3, 1, 1),
    "first_stage_model.taesd_decoder.1.weight": (1, 4, 1, 1),
}
CLIP_L = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
CLIP_L_2022 = "cond_stage_model.transformer.embeddings.token_embedding.weight"
CLIP_H = "cond_stage_model.model.token_embedding.weight"
SDXL_L = "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight"
SDXL_G = "conditioner.embedders.1.model.token_embedding.weight"
SD2_NORM = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"


def unet(context: int, in_channels: int = 4, prefix: str = UNET, labelled: bool = False) -> Shapes:
    shapes: Shapes = {
        f"{prefix}input_blocks.0.0.weight": (2, in_channels, 1, 1),
        f"{prefix}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (1, context),
    }
    return shapes | ({f"{prefix}label_emb.0.0.weight": (1, 2)} if labelled else {})


SD1 = unet(768) | {CLIP_L: (1, 768)} | VAE
SD2 = unet(1024) | {CLIP_H: (1, 1024)} | VAE
SDXL = unet(2048, labelled=True) | {SDXL_L: (1, 768), SDXL_G: (1, 1280)} | VAE

KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
KOHYA_TEXT = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
PEFT = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2"


def without(shapes: Shapes, *starts: str) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.startswith(starts)}


def kohya_lora(context: int, rank: int = 4) -> Shapes:
    return {
        f"{KOHYA}.lora_down.weight": (rank, context),
        f"{KOHYA}.lora_up.weight": (2, rank),
        f"{KOHYA}.alpha": (),
    }


def document_of(shapes: Shapes, values: Mapping[str, bytes]) -> tuple[dict[str, Any], bytes]:
    """The header and data of F32 tensors, zero where no values are given."""
    document: dict[str, Any] = {}
    data = b""
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        content = values.get(name, bytes(size))
        places = [len(data), len(data) + size]
        document[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": places}
        data += content
    return document, data


def file_bytes(document: Any, data: bytes) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text + data


def write_model(
    path: Path,
    shapes: Shapes,
    *,
    metadata: Mapping[str, str] | None = None,
    values: Mapping[str, bytes] | None = None,
) -> Path:
    document, data = document_of(shapes, values or {})
    if metadata is not None:
        document["__metadata__"] = dict(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_bytes(document, data))
    return path
