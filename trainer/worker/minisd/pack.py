"""Pack the small model for the repository, with its learned weights in eight bits, and unpack it.

A packed file is safetensors with `unet.*`, `text_encoder.*` and `vae.*` by diffusers' names.
Matrices and kernels are int8 with a float32 `<name>.scale` per output; all else is float16. Only
the tokens that captions use are stored; the embeddings of all others are random, from a generator
whose stream numpy guarantees.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...files.atomic import write_atomic
from ..base.noise_schedule import make_noise_scheduler
from .parts import TEXT_WIDTH, TOKENS, VOCABULARY, make_text_encoder, make_unet, make_vae

__all__ = ["SCALING_FACTOR", "TOKEN_TABLE", "expand", "pack", "unpack", "untrained_tokens"]

TOKEN_TABLE = "embeddings.token_embedding.weight"
UNTRAINED_SEED, UNTRAINED_STD = 49408, 0.02  # as CLIP initializes its embeddings
PRECISE = ("vae.", f"text_encoder.{TOKEN_TABLE}")  # small, or used row by row
SCALE = ".scale"
SCALING_FACTOR = "scaling_factor"  # of latents, in the file's metadata


def pack(unet: nn.Module, text_encoder: nn.Module, vae: AutoencoderKL) -> bytes:
    """Return the packed file's bytes.

    Args:
        text_encoder: with the embeddings of `TOKENS` only.
    """
    parts = {"unet": unet, "text_encoder": text_encoder, "vae": vae}
    weights = {
        f"{part}.{name}": value
        for part, model in parts.items()
        for name, value in model.state_dict().items()
    }
    packed = dict(item for name, value in weights.items() for item in pack_one(name, value))
    return save(packed, {SCALING_FACTOR: repr(vae.config["scaling_factor"])})


def pack_one(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    if value.ndim < 2 or name.startswith(PRECISE):
        yield name, value.half().contiguous()
        return
    scale = value.flatten(1).abs().amax(1) / 127  # (outputs,)
    scale = scale.clamp_min(torch.finfo(torch.float32).tiny)
    steps = value / scale.view(-1, *[1] * (value.ndim - 1))
    yield name, steps.round().to(torch.int8).contiguous()
    yield name + SCALE, scale


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float16 weights by name; the text encoder's have the whole vocabulary."""
    found: dict[str, Tensor] = {}
    for name, value in packed.items():
        if name.endswith(SCALE):
            continue
        if value.dtype == torch.int8:
            scale = packed[name + SCALE]
            value = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
        found[name] = value.half()
    table = untrained_tokens()
    key = f"text_encoder.{TOKEN_TABLE}"
    table[TOKENS] = found[key]
    return found | {key: table}


def untrained_tokens() -> Tensor:
    """Return random embeddings in float16, (VOCABULARY, TEXT_WIDTH), equal on every machine."""
    stream = np.random.RandomState(UNTRAINED_SEED)
    table = stream.standard_normal((VOCABULARY, TEXT_WIDTH)).astype(np.float16)
    return torch.from_numpy(table * np.float16(UNTRAINED_STD))


def forget_versions(config: Path) -> None:
    """Remove library versions from a config, so that equal weights are the same base."""
    values = json.loads(config.read_text("utf-8"))
    kept = {name: value for name, value in values.items() if not name.endswith("_version")}
    write_atomic(config, json.dumps(kept, indent=2) + "\n")


def expand(file: Path, folder: Path) -> None:
    """Expand a packed file to a diffusers folder."""
    weights = unpack(load_file(file))
    with safe_open(str(file), framework="pt") as header:
        scaling_factor = float(header.metadata()[SCALING_FACTOR])
    with torch.device("meta"):
        models: dict[str, Any] = {
            "unet": make_unet(),
            "text_encoder": make_text_encoder(VOCABULARY),
            "vae": make_vae(),
        }
    for part, model in models.items():
        own = {
            name.removeprefix(f"{part}."): value
            for name, value in weights.items()
            if name.startswith(f"{part}.")
        }
        model.load_state_dict(own, strict=True, assign=True)
        if part == "vae":
            model.register_to_config(scaling_factor=scaling_factor)
        model.save_pretrained(folder / part)
        forget_versions(folder / part / "config.json")
    make_noise_scheduler().save_pretrained(folder / "scheduler")
    forget_versions(folder / "scheduler" / "scheduler_config.json")
    write_atomic(folder / "model_index.json", '{"_class_name": "StableDiffusionPipeline"}\n')
