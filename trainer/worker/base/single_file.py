"""A whole base in the single-file layout that every host opens, with some weights replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...model_files.contents import UNET_PREFIX, VAE_PREFIX
from ...model_files.unet_structure import Level
from . import models, text_layout, unet_layout, vae_layout
from .models import BaseModel
from .renaming import Weights
from .weights import read_weights

__all__ = ["single_file_weights"]

STALE = ("model_ema.", "optimizer")  # of the base's own training


def single_file_weights(
    base: BaseModel, changed: Mapping[str, Weights], dtype: torch.dtype
) -> Weights:
    """Return every weight of the base by its name in single files, in `dtype`, on the CPU.

    Args:
        changed: weights in place of the base's, by part ("unet", "text_encoder", "text_encoder_2")
            and by their names in diffusers and transformers.

    Raises:
        RuntimeError: a changed weight has no place.
    """
    found = folder_weights(base) if base.is_folder else file_weights(base, dtype)
    if base.vae_path is not None:
        found |= vae_weights(models.load_vae(base))
    for part, weights in changed.items():
        for name, value in original_names(base, part, weights).items():
            name = name if name in found else name.replace("text_model.", "", 1)  # files of 2022
            if name not in found or found[name].numel() != value.numel():
                raise RuntimeError(f"{base.path.name} has no place for {name} of {part}.")
            found[name] = value.reshape(found[name].shape)
    return {name: value.to(dtype).contiguous() for name, value in found.items()}


def file_weights(base: BaseModel, dtype: torch.dtype) -> Weights:
    weights = read_weights(base.path, "", dtype)
    return {name: value for name, value in weights.items() if not name.startswith(STALE)}


def folder_weights(base: BaseModel) -> Weights:
    found = vae_weights(models.load_vae(base))
    unet = models.load_unet(base, torch.float32)
    found |= original_names(base, "unet", dict(unet.named_parameters()))
    encoders = models.load_text_encoders(base, torch.float32)
    for kind, encoder in zip(base.family.text_encoders, encoders, strict=True):
        weights = dict(encoder.named_parameters())
        found |= original_names(base, kind.folder, weights)
        if base.family.drop_last_layer:
            found |= dropped_layer(kind.prefix, found)
    return found | marks(base)


def marks(base: BaseModel) -> Weights:
    """Return the empty tensors by which hosts recognize what an SDXL model predicts."""
    if not (base.predicts_velocity and base.family.size_conditioning):
        return {}
    zero_snr = models.load_noise_scheduler(base).config["rescale_betas_zero_snr"]
    return {name: torch.empty(0) for name in ("v_pred", *["ztsnr"] * zero_snr)}


def dropped_layer(prefix: str, found: Mapping[str, Tensor]) -> Weights:
    """Return the layer after the last, which diffusers' folders lack and no prompt passes."""
    layers = f"{prefix}transformer.resblocks."
    numbers = {int(name.removeprefix(layers).partition(".")[0]) for name in found if layers in name}
    last, new = f"{layers}{max(numbers)}.", f"{layers}{max(numbers) + 1}."
    own = {name: value for name, value in found.items() if name.startswith(last)}
    return {name.replace(last, new): torch.zeros_like(value) for name, value in own.items()}


def original_names(base: BaseModel, part: str, weights: Mapping[str, Tensor]) -> Weights:
    """Rename a part's weights as in single files, prefix included."""
    if part == "unet":
        levels = unet_levels(base)
        named = unet_layout.unet_from_diffusers(dict(weights), levels)
        return {UNET_PREFIX + name: value for name, value in named.items()}
    kind = next(kind for kind in base.family.text_encoders if kind.folder == part)
    named = dict(text_names(weights))
    if kind.open_clip:
        named = text_layout.clip_to_open_clip(named)
    return {kind.prefix + name: value for name, value in named.items()}


def text_names(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in weights.items():  # some versions of transformers leave this level out
        projection = name.startswith("text_projection")
        yield name if projection else f"text_model.{name.removeprefix('text_model.')}", value


def unet_levels(base: BaseModel) -> list[Level]:
    with torch.device("meta"):
        config: Any = models.load_unet(base, torch.float32).config
    return unet_layout.folder_levels(config)


def vae_weights(vae: nn.Module) -> Weights:
    weights: Weights = dict(vae.named_parameters())
    named = vae_layout.vae_from_diffusers(weights, vae_layout.vae_folder_levels(weights))
    return {VAE_PREFIX + name: value for name, value in named.items()}
