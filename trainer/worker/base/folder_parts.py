"""The parts of a base in diffusers' folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ...model_files.diffusers_folder import part_files
from . import vae_layout
from .renaming import Weights
from .weights import complete, fill, read_weights

__all__ = ["TextEncoder", "load_folder_part", "named_as_in"]

TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


def load_folder_part(kind: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """Return one part of a diffusers folder, frozen."""
    path = folder / part
    weights: Weights = {}
    for file in part_files(folder, part):
        weights |= read_weights(file, "", dtype)
    with complete(part, path), torch.device("meta"):
        if kind is AutoencoderKL:  # attention names of 2022 are brought up to date
            levels = vae_layout.vae_folder_levels(weights)
            weights = vae_layout.vae_to_diffusers(vae_layout.vae_from_diffusers(weights, levels))
        model = empty_model(kind, path)
        if isinstance(model, TextEncoder):
            weights = named_as_in(model, weights)
    return fill(model, weights, part, path)


def empty_model(kind: Any, path: Path) -> Any:
    """Return a model of diffusers or transformers as its config says."""
    if hasattr(kind, "load_config"):  # diffusers
        return kind.from_config(kind.load_config(path))
    return kind(CLIPTextConfig.from_pretrained(path))


def named_as_in(model: nn.Module, weights: Weights) -> Weights:
    """Add or remove the level `text_model`, in which versions of transformers differ."""
    level = "text_model."
    wanted = any(key.startswith(level) for key, _ in model.named_parameters())
    if not wanted:
        return {key.removeprefix(level): value for key, value in weights.items()}
    has_level = any(key.startswith(level) for key in weights)
    return {
        key if has_level or key.startswith("text_projection") else level + key: value
        for key, value in weights.items()
    }
