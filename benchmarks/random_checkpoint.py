"""Random checkpoints in the exact published layout, for tests and benchmarks without real weights.

    python -m benchmarks.random_checkpoint sd1 full sd15-random.safetensors

Sizes: `full` as published; `host` the smallest that ComfyUI recognises; `tiny` for tests of the
trainer alone. Such models generate noise; their keys, shapes and speed are real.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from trainer.model_files.contents import UNET_PREFIX, VAE_PREFIX
from trainer.model_files.unet_structure import Level
from trainer.worker.base import text_layout, unet_layout, vae_layout
from trainer.worker.base.renaming import Weights

VOCABULARY = 49408


@dataclass(frozen=True)
class UNetSize:
    """Channels and transformer depth of each level, and the number of blocks per level."""

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    num_blocks: int


UNETS = {
    ("sd1", "full"): UNetSize((320, 640, 1280, 1280), (1, 1, 1, 0), 2),
    ("sd2", "full"): UNetSize((320, 640, 1280, 1280), (1, 1, 1, 0), 2),
    ("sdxl", "full"): UNetSize((320, 640, 1280), (0, 2, 10), 2),
    ("sd1", "host"): UNetSize((320, 640), (1, 1), 1),
    ("sd2", "host"): UNetSize((320, 640), (1, 1), 1),
    ("sdxl", "host"): UNetSize((320, 320, 320), (0, 1, 2), 2),
    ("sd1", "tiny"): UNetSize((32, 64), (1, 1), 1),
    ("sd2", "tiny"): UNetSize((64, 128), (1, 1), 1),
    ("sdxl", "tiny"): UNetSize((64, 64, 128), (0, 1, 2), 1),
}
CONTEXT = {"sd1": 768, "sd2": 1024, "sdxl": 2048}
VAE_CHANNELS = {"full": (128, 256, 512, 512), "host": (128, 256, 512, 512), "tiny": (32,) * 4}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
OPEN_CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
OPEN_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}


def make_unet(family: str, size: str) -> UNet2DConditionModel:
    """Return a U-Net on the meta device."""
    unet = UNETS[family, size]
    cross = [depth > 0 for depth in unet.depths]
    extra: dict[str, Any] = {}
    if family == "sdxl":
        extra = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        extra["projection_class_embeddings_input_dim"] = 2816
    with torch.device("meta"):
        return UNet2DConditionModel(
            block_out_channels=unet.channels,
            layers_per_block=unet.num_blocks,
            down_block_types=[("CrossAttnDownBlock2D" if c else "DownBlock2D") for c in cross],
            up_block_types=[("CrossAttnUpBlock2D" if c else "UpBlock2D") for c in reversed(cross)],
            transformer_layers_per_block=[depth or 1 for depth in unet.depths],
            attention_head_dim=8 if family == "sd1" else [c // 64 for c in unet.channels],
            cross_attention_dim=CONTEXT[family],
            use_linear_projection=family != "sd1",
            **extra,
        )


def make_vae(size: str) -> AutoencoderKL:
    channels = VAE_CHANNELS[size]
    with torch.device("meta"):
        return AutoencoderKL(
            block_out_channels=channels,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            layers_per_block=1 if size == "tiny" else 2,
            latent_channels=4,
        )


def make_text_encoder(sizes: dict[str, int], *, projected: bool, tiny: bool) -> nn.Module:
    sizes = sizes | ({"num_hidden_layers": 3, "intermediate_size": 128} if tiny else {})
    config = CLIPTextConfig(vocab_size=VOCABULARY, projection_dim=sizes["hidden_size"], **sizes)  # pyright: ignore
    with torch.device("meta"):
        return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def random_weights(model: nn.Module, rng: torch.Generator, dtype: torch.dtype) -> Weights:
    """Return fan-in-scaled normal weights, norms of one, biases of zero: values stay finite."""
    return {name: random_tensor(name, p.shape, rng).to(dtype) for name, p in parameters(model)}


def parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()


def random_tensor(name: str, shape: torch.Size, rng: torch.Generator) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1:
        return torch.ones(shape)
    if "embedding" in name and "time_embedding" not in name and "add_embedding" not in name:
        return torch.randn(shape, generator=rng) * 0.02
    return torch.randn(shape, generator=rng) / math.sqrt(math.prod(shape[1:]))


def text_weights(family: str, size: str, rng: torch.Generator, dtype: torch.dtype) -> Weights:
    """Return the text encoders' weights with the prefixes of single-file checkpoints."""
    tiny = size == "tiny"

    def weights(sizes: dict[str, int], *, projected: bool) -> Weights:
        model = make_text_encoder(sizes, projected=projected, tiny=tiny)
        found = random_weights(model, rng, dtype)
        return {f"text_model.{k}" if not re.match("text_", k) else k: v for k, v in found.items()}

    if family == "sd1":
        return prefixed("cond_stage_model.transformer.", weights(CLIP_L, projected=False))
    if family == "sd2":
        open_clip = text_layout.clip_to_open_clip(weights(OPEN_CLIP_H, projected=True))
        return prefixed("cond_stage_model.model.", open_clip)
    first = prefixed("conditioner.embedders.0.transformer.", weights(CLIP_L, projected=False))
    open_clip = text_layout.clip_to_open_clip(weights(OPEN_CLIP_G, projected=True))
    return first | prefixed("conditioner.embedders.1.model.", open_clip)


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + key: value.contiguous() for key, value in weights.items()}


def checkpoint_weights(
    family: str, size: str, seed: int = 0, dtype: torch.dtype = torch.float16
) -> Weights:
    """Return all weights of a random checkpoint in the original layout."""
    rng = torch.Generator().manual_seed(seed)
    unet = UNETS[family, size]
    levels = [
        Level.even(channels, unet.num_blocks, depth)
        for channels, depth in zip(unet.channels, unet.depths, strict=True)
    ]
    unet_weights = random_weights(make_unet(family, size), rng, dtype)
    vae_weights = random_weights(make_vae(size), rng, dtype)
    return {
        **prefixed(UNET_PREFIX, unet_layout.unet_from_diffusers(unet_weights, levels)),
        **prefixed(VAE_PREFIX, vae_layout.vae_from_diffusers(vae_weights, 4)),
        **text_weights(family, size, rng, dtype),
    }


def save_checkpoint(
    path: Path, family: str, size: str, *, seed: int = 0, v_prediction: bool = False
) -> Path:
    """Write a random checkpoint; v-prediction models get the marks that hosts look for."""
    weights = checkpoint_weights(family, size, seed)
    if v_prediction and family == "sdxl":
        weights["v_pred"] = torch.tensor([])
    if v_prediction and family == "sd2":
        key = f"{UNET_PREFIX}output_blocks.11.1.transformer_blocks.0.norm1.bias"
        if key in weights:
            weights[key] = (0.2 * torch.randn(weights[key].shape)).to(weights[key].dtype)
    save_file(weights, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=list(CONTEXT))
    parser.add_argument("size", choices=list(VAE_CHANNELS))
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    save_checkpoint(arguments.path, arguments.family, arguments.size, seed=arguments.seed)


if __name__ == "__main__":
    main()
