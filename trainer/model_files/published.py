"""The published checkpoints' structure: names and shapes of every tensor, without any weights."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .contents import POOLED, UNET_PREFIX, VAE_PREFIX
from .families import FAMILIES, Family, FamilyName
from .header import OUTLINE
from .layers import Shapes, Tensors
from .part_tensors import clip_tensors, open_clip_tensors, vae_tensors
from .unet_structure import Level, UNetStructure, unet_tensors

__all__ = ["outline", "published_tensors"]

SMALL_UNET = tuple(
    Level.even(channels, 2, depth) for channels, depth in ((320, 1), (640, 1), (1280, 1), (1280, 0))
)
SDXL_UNET = tuple(
    Level.even(channels, 2, depth) for channels, depth in ((320, 0), (640, 2), (1280, 10))
)
UNETS: dict[FamilyName, UNetStructure] = {
    "sd1": UNetStructure(SMALL_UNET, 1, 4, 4, 768, None, linear=False),
    "sd2": UNetStructure(SMALL_UNET, 1, 4, 4, 1024, None, linear=True),
    "sdxl": UNetStructure(SDXL_UNET, 10, 4, 4, 2048, 2816, linear=True),
}
VAE_WIDTHS, VAE_BLOCKS, LATENT_CHANNELS = (128, 256, 512, 512), 2, 4
CLIP_L, OPEN_CLIP_H, OPEN_CLIP_G = (768, 12), (1024, 24), (1280, 32)  # width, layers
TEXT_ENCODERS: dict[FamilyName, tuple[tuple[int, int], ...]] = {
    "sd1": (CLIP_L,),
    "sd2": (OPEN_CLIP_H,),
    "sdxl": (CLIP_L, OPEN_CLIP_G),
}


@contextmanager
def outline(family: FamilyName) -> Iterator[Path]:
    """Provide a temporary file with the header of a family's published checkpoint.

    `read_header` reads it like that of a whole checkpoint; there are no weights to load.
    """
    document = {}
    end = 0
    for name, shape in published_tensors(family).items():
        start, end = end, end + 2 * math.prod(shape)
        document[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(document).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{family}{OUTLINE}"
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        yield path


def published_tensors(name: FamilyName) -> Shapes:
    """Return the shape of every tensor of a family's published checkpoint."""
    family = FAMILIES[name]
    shapes = prefixed(UNET_PREFIX, iter(unet_tensors(UNETS[name]).items()))
    shapes |= prefixed(VAE_PREFIX, vae_tensors(vae_marks()))
    for kind, (width, layers) in zip(family.text_encoders, TEXT_ENCODERS[name], strict=True):
        if kind.open_clip:
            shapes |= prefixed(kind.prefix, open_clip_text(family, width, layers))
        else:
            shapes |= prefixed(kind.prefix, clip_tensors(clip_marks(width, layers)))
    return shapes


def prefixed(prefix: str, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {prefix + name: shape for name, shape in tensors}


def open_clip_text(family: Family, width: int, layers: int) -> Tensors:
    block = "transformer.resblocks.{}.mlp.c_fc.weight"
    marks = {block.format(i): (4 * width, width) for i in range(layers)}
    yield from open_clip_tensors({"token_embedding.weight": (0, width), **marks})
    if family.penultimate:
        yield POOLED, (width, width)


def clip_marks(width: int, layers: int) -> Shapes:
    """Return what a text encoder's tensors follow from."""
    layer = "text_model.encoder.layers.{}.mlp.fc1.weight"
    marks = {layer.format(i): (4 * width, width) for i in range(layers)}
    return {"text_model.embeddings.token_embedding.weight": (0, width), **marks}


def vae_marks() -> Shapes:
    """Return what a VAE's tensors follow from."""
    block = "encoder.down.{}.block.{}.conv1.weight"
    marks = {
        block.format(level, number): (width,)
        for level, width in enumerate(VAE_WIDTHS)
        for number in range(VAE_BLOCKS)
    }
    return {"post_quant_conv.weight": (LATENT_CHANNELS,), **marks}
