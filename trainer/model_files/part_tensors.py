"""Every tensor that a VAE or text encoder in a single-file checkpoint consists of."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .layers import Shapes, Tensors, conv, linear, norm, pointwise, side

__all__ = ["clip_tensors", "open_clip_tensors", "vae_tensors"]

POSITIONS = 77  # tokens of a prompt
VOCABULARY = 49408
CLIP_EMBEDDING = "text_model.embeddings.token_embedding.weight"
CLIP_LINEAR = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj")
VAE_ATTENTION = ("q", "k", "v", "proj_out")


def vae_tensors(shapes: Shapes) -> Tensors:
    """Yield the tensors of an AutoencoderKL in the original layout, sized as in `shapes`."""
    num_levels = count(shapes, r"encoder\.down\.([0-9]+)\.")
    blocks = count(shapes, r"encoder\.down\.0\.block\.([0-9]+)\.")
    widths = [side(shapes, f"encoder.down.{i}.block.0.conv1.weight", 0) for i in range(num_levels)]
    latent = side(shapes, "post_quant_conv.weight", 0)
    first, last = ([*widths, 0][0], [0, *widths][-1])
    yield from conv("encoder.conv_in", 3, first)
    yield from conv("encoder.conv_out", last, 2 * latent)
    yield from pointwise("quant_conv", 2 * latent, 2 * latent)
    yield from pointwise("post_quant_conv", latent, latent)
    yield from conv("decoder.conv_in", latent, last)
    yield from conv("decoder.conv_out", first, 3)
    yield from norm("encoder.norm_out", last)
    yield from norm("decoder.norm_out", first)
    for part in ("encoder", "decoder"):
        yield from vae_middle(f"{part}.mid", last)
    before_down, before_up = first, last
    for i, width in enumerate(widths):
        yield from vae_level(f"encoder.down.{i}", before_down, width, blocks)
        if i < num_levels - 1:
            yield from conv(f"encoder.down.{i}.downsample.conv", width, width)
        before_down = width
    for i, width in reversed(list(enumerate(widths))):
        yield from vae_level(f"decoder.up.{i}", before_up, width, blocks + 1)
        if i:
            yield from conv(f"decoder.up.{i}.upsample.conv", width, width)
        before_up = width


def count(names: Iterable[str], pattern: str) -> int:
    """Count the different numbers that names have in a place."""
    return len({match[1] for match in map(re.compile(pattern).match, names) if match})


def vae_level(prefix: str, before: int, width: int, blocks: int) -> Tensors:
    for j in range(blocks):
        yield from vae_block(f"{prefix}.block.{j}", width if j else before, width)


def vae_block(prefix: str, before: int, width: int) -> Tensors:
    yield from norm(f"{prefix}.norm1", before)
    yield from conv(f"{prefix}.conv1", before, width)
    yield from norm(f"{prefix}.norm2", width)
    yield from conv(f"{prefix}.conv2", width, width)
    if before != width:
        yield from conv(f"{prefix}.nin_shortcut", before, width, size=1)


def vae_middle(prefix: str, width: int) -> Tensors:
    yield from vae_block(f"{prefix}.block_1", width, width)
    yield from norm(f"{prefix}.attn_1.norm", width)
    for name in VAE_ATTENTION:
        yield from pointwise(f"{prefix}.attn_1.{name}", width, width)
    yield from vae_block(f"{prefix}.block_2", width, width)


def clip_tensors(shapes: Shapes) -> Tensors:
    """Yield the tensors of a text encoder in transformers' layout, sized as in `shapes`."""
    vocabulary = max(side(shapes, CLIP_EMBEDDING, 0), VOCABULARY)
    width = side(shapes, CLIP_EMBEDDING, 1)
    inner = side(shapes, "text_model.encoder.layers.0.mlp.fc1.weight", 0)
    yield CLIP_EMBEDDING, (vocabulary, width)
    yield "text_model.embeddings.position_embedding.weight", (POSITIONS, width)
    for i in range(count(shapes, r"text_model\.encoder\.layers\.([0-9]+)\.")):
        layer = f"text_model.encoder.layers.{i}"
        for name in CLIP_LINEAR:
            yield from linear(f"{layer}.{name}", width, width)
        yield from norm(f"{layer}.layer_norm1", width)
        yield from norm(f"{layer}.layer_norm2", width)
        yield from linear(f"{layer}.mlp.fc1", width, inner)
        yield from linear(f"{layer}.mlp.fc2", inner, width)
    yield from norm("text_model.final_layer_norm", width)


def open_clip_tensors(shapes: Shapes) -> Tensors:
    """Yield the tensors of a text encoder in OpenCLIP's layout, sized as in `shapes`."""
    vocabulary = max(side(shapes, "token_embedding.weight", 0), VOCABULARY)
    width = side(shapes, "token_embedding.weight", 1)
    inner = side(shapes, "transformer.resblocks.0.mlp.c_fc.weight", 0)
    yield "token_embedding.weight", (vocabulary, width)
    yield "positional_embedding", (POSITIONS, width)
    for i in range(count(shapes, r"transformer\.resblocks\.([0-9]+)\.")):
        block = f"transformer.resblocks.{i}"
        yield f"{block}.attn.in_proj_weight", (3 * width, width)
        yield f"{block}.attn.in_proj_bias", (3 * width,)
        yield from linear(f"{block}.attn.out_proj", width, width)
        yield from norm(f"{block}.ln_1", width)
        yield from norm(f"{block}.ln_2", width)
        yield from linear(f"{block}.mlp.c_fc", width, inner)
        yield from linear(f"{block}.mlp.c_proj", inner, width)
    yield from norm("ln_final", width)
