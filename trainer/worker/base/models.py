"""The frozen base: the parts of a checkpoint, and how each is loaded, always from disk.

Under `torch.device("meta")` every part is built from the file's header alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ...config.config import Config
from ...config.model import (
    EMBEDDED,
    EMBEDDED_SIDE_PX,
    Attention,
    BasePrecision,
    ModelConfig,
    PredictionType,
)
from ...errors import ConfigError
from ...model_files.contents import UNET_PREFIX, VAE_PREFIX
from ...model_files.diffusers_folder import part_files
from ...model_files.families import FAMILIES, Family, TextEncoderKind, Variant
from ...model_files.identify import ModelFile, predicts_velocity, require_base, require_vae
from ...model_files.unet_structure import unet_structure
from ..device.memory import return_heap
from . import text_layout, unet_layout
from .embedded import base_path
from .folder_parts import TextEncoder, load_folder_part, named_as_in
from .noise_schedule import make_noise_scheduler, read_noise_scheduler
from .quantised import quantise
from .vae_file import build_vae, load_vae_file
from .weight_formats import require_library
from .weights import complete, fill, read_weights

__all__ = [
    "BaseModel",
    "TextEncoder",
    "load_noise_scheduler",
    "load_stored_unet",
    "load_text_encoders",
    "load_unet",
    "load_vae",
    "open_base",
    "pixels_per_latent",
    "vae_factor",
    "with_resolution",
]

DROPPED_ALREADY = 23  # layers of OpenCLIP-H in files that were converted from diffusers' folders
TILE_PX = 512  # side of the tiles that the VAE decodes


@dataclass(frozen=True)
class BaseModel:
    """An identified base, ready to load its parts.

    Args:
        resolution: the side in pixels of the images that such bases were trained on.
        base_precision: how the U-Net is stored; `attention` says what computes its attention.
    """

    path: Path
    vae_path: Path | None
    file: ModelFile
    family: Family
    prediction_type: PredictionType
    resolution: int
    base_precision: BasePrecision
    attention: Attention

    @property
    def is_folder(self) -> bool:
        """Return whether the base is a diffusers folder rather than a single file."""
        return self.path.is_dir()

    @property
    def clip_skip(self) -> int:
        """Return the layer that prompts come from, as hosts count it: 1 is the family's usual."""
        return self.family.skipped_layers + 1

    @property
    def predicts_velocity(self) -> bool:
        """Return whether the U-Net predicts velocity instead of noise."""
        return self.prediction_type == "v_prediction"

    @property
    def variant(self) -> Variant:
        """Return what its family's bases with the same prediction type have in common."""
        return self.family.variant(velocity=self.predicts_velocity)

    def sources(self, part: str) -> list[tuple[Path, str]]:
        """Return the files of a part, named as in diffusers' folders, with its prefix in them."""
        if part == "vae" and self.vae_path is not None:
            return [(self.vae_path, "")]
        if self.is_folder:
            return [(file, "") for file in part_files(self.path, part)]
        prefixes = {kind.folder: kind.prefix for kind in self.family.text_encoders}
        prefixes |= {"unet": UNET_PREFIX, "vae": VAE_PREFIX}
        return [(self.path, prefixes[part])]


def open_base(config: ModelConfig) -> BaseModel:
    """Identify the base checkpoint.

    Raises:
        ConfigError: it is not a complete SD 1.x, SD 2.x or SDXL model, or has no Clip skip.
    """
    path = base_path(config.base)
    file = require_base(path, vae_given=config.vae is not None)
    assert file.family is not None
    family = FAMILIES[file.family]
    if config.clip_skip is not None and not family.has_clip_skip:
        raise ConfigError(
            f"clip_skip is {config.clip_skip}, but {family.title} always reads its text encoders' "
            "second-to-last layer.",
            "Remove clip_skip.",
        )
    family = family.with_clip_skip(config.clip_skip)
    vae_path = None if config.vae is None else Path(config.vae)
    if vae_path is not None:
        require_vae(vae_path)
    prediction_type = config.prediction_type
    if prediction_type == "auto":
        prediction_type = "v_prediction" if predicts_velocity(file) else "epsilon"
    own = family.variant(velocity=prediction_type == "v_prediction").resolution
    side = EMBEDDED_SIDE_PX if config.base == EMBEDDED else own
    require_library(config.base_precision)
    base = BaseModel(
        path, vae_path, file, family, prediction_type, side, config.base_precision, config.attention
    )
    if base.is_folder:
        check_folder(base)
    return base


def with_resolution(config: Config) -> Config:
    """Return a config with the base's resolution where it was left open."""
    return config.with_resolution(open_base(config.model).resolution)


def check_folder(base: BaseModel) -> None:
    """Raise ConfigError unless a folder's weights fit its configs; single files are checked above.

    The parts are built from the headers alone.
    """
    with torch.device("meta"):
        load_unet(base, torch.float32)
        load_text_encoders(base, torch.float32)
        read_vae(base)


def load_noise_scheduler(base: BaseModel) -> DDPMScheduler:
    """Return the base's noise schedule; single files are taken to use 1000 scaled-linear steps."""
    if base.is_folder:
        return read_noise_scheduler(base.path / "scheduler", base.prediction_type)
    zero_snr = "ztsnr" in base.file.header.tensors
    return make_noise_scheduler(base.prediction_type, zero_snr=zero_snr)


def load_unet(base: BaseModel, dtype: torch.dtype) -> UNet2DConditionModel:
    """Return the frozen U-Net in `dtype`."""
    if base.is_folder:
        return load_folder_part(UNet2DConditionModel, base.path, "unet", dtype)
    weights = read_weights(base.path, UNET_PREFIX, dtype)
    structure = unet_structure({key: tuple(value.shape) for key, value in weights.items()})
    with complete("U-Net", base.path), torch.device("meta"):
        unet = UNet2DConditionModel(**unet_layout.unet_config(structure, base.family.num_heads))
        weights = unet_layout.unet_to_diffusers(weights, structure.levels)
    return fill(unet, weights, "U-Net", base.path)


def load_stored_unet(
    base: BaseModel,
    dtype: torch.dtype,
    device: torch.device,
    check: Callable[[nn.Module], None] = lambda unet: None,
) -> UNet2DConditionModel:
    """Return the frozen U-Net on a device: computing in `dtype`, stored in the base's precision.

    Args:
        check: called with the U-Net before its weights are rounded.
    """
    unet: Any = load_unet(base, dtype)
    check(unet)
    quantise(unet, base.base_precision, device)
    if base.base_precision != "auto":
        return_heap()  # each weight was replaced by a smaller one
    nn.Module.to(unet, device)  # its own `to` warns needlessly
    return unet


def load_vae(base: BaseModel) -> AutoencoderKL:
    """Return the VAE in float32 (SDXL's own overflows in float16), with tiles for small GPUs."""
    vae = read_vae(base)
    vae.tile_sample_min_size = TILE_PX  # default: sample_size, for SDXL the whole image
    vae.tile_latent_min_size = TILE_PX // vae_factor(vae)
    return vae


def read_vae(base: BaseModel) -> AutoencoderKL:
    """Return the VAE in float32 from its own file, the folder or the checkpoint."""
    if base.vae_path is not None:
        return load_vae_file(base.vae_path, base.family)
    if base.is_folder:
        return load_folder_part(AutoencoderKL, base.path, "vae", torch.float32)
    weights = read_weights(base.path, VAE_PREFIX, torch.float32)
    return build_vae(weights, base.family, base.path)


def vae_factor(vae: AutoencoderKL) -> int:
    """Return the pixels per latent along a side: 8 in Stable Diffusion, 4 in the embedded model."""
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


def pixels_per_latent(base: BaseModel) -> int:
    """Return `vae_factor` of a base without loading its VAE, from the header alone."""
    with torch.device("meta"):
        return vae_factor(read_vae(base))


def load_text_encoders(base: BaseModel, dtype: torch.dtype) -> list[TextEncoder]:
    """Return the frozen text encoders in `dtype`: one, or two for SDXL."""
    load = load_text_encoder_folder if base.is_folder else load_text_encoder_part
    encoders = [load(base, kind, dtype) for kind in base.family.text_encoders]
    fewest = min(encoder.config.num_hidden_layers for encoder in encoders)
    if base.family.skipped_layers >= fewest:
        raise ConfigError(
            f"clip_skip is {base.clip_skip}, but the text encoder of {base.path.name} has "
            f"{fewest} layers.",
            f"Set clip_skip to at most {fewest}.",
        )
    return encoders


def load_text_encoder_folder(
    base: BaseModel, kind: TextEncoderKind, dtype: torch.dtype
) -> TextEncoder:
    model = CLIPTextModelWithProjection if kind.folder == "text_encoder_2" else CLIPTextModel
    return load_folder_part(model, base.path, kind.folder, dtype)


def load_text_encoder_part(
    base: BaseModel, kind: TextEncoderKind, dtype: torch.dtype
) -> TextEncoder:
    weights = read_weights(base.path, kind.prefix, dtype)
    if kind.open_clip:
        weights = text_layout.open_clip_to_clip(weights)
    elif "embeddings.token_embedding.weight" in weights:  # files of 2022 lack this level
        weights = {f"text_model.{key}": value for key, value in weights.items()}
    projected = base.family.penultimate and kind.open_clip
    with complete("text encoder", base.path), torch.device("meta"):
        config = text_layout.clip_config(weights, "gelu" if kind.open_clip else "quick_gelu")
        if base.family.drop_last_layer and config["num_hidden_layers"] != DROPPED_ALREADY:
            config["num_hidden_layers"] -= 1
        model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(
            CLIPTextConfig(**config)
        )
    last = f"layers.{config['num_hidden_layers']}."
    weights = {key: value for key, value in weights.items() if last not in key}
    return fill(model, named_as_in(model, weights), "text encoder", base.path)
