"""The frozen base: the parts of a checkpoint, and how each is loaded, always from disk.

Under `torch.device("meta")` every part is built from the file's header alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ...config.model import ModelConfig, PredictionType
from ...errors import ConfigError
from ...model_files.families import FAMILIES, Family, TextEncoderKind, Variant
from ...model_files.identify import ModelFile, predicts_velocity, require_base, require_vae
from . import text_layout, unet_layout, vae_layout
from .embedded import base_path
from .noise_schedule import make_noise_scheduler, read_noise_scheduler
from .renaming import Weights
from .weights import complete, fill, read_weights

__all__ = [
    "BaseModel",
    "TextEncoder",
    "load_noise_scheduler",
    "load_text_encoders",
    "load_unet",
    "load_vae",
    "open_base",
    "pixels_per_latent",
    "vae_factor",
]

TILE_PX = 512  # side of the tiles that the VAE decodes
TextEncoder = CLIPTextModel | CLIPTextModelWithProjection


@dataclass(frozen=True)
class BaseModel:
    """An identified base, ready to load its parts."""

    path: Path
    vae_path: Path | None
    file: ModelFile
    family: Family
    prediction_type: PredictionType

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

    @property
    def resolution(self) -> int:
        """Return the side in pixels of the images that such bases were trained on."""
        return self.variant.resolution


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
    return BaseModel(path, vae_path, file, family, prediction_type)


def load_noise_scheduler(base: BaseModel) -> DDPMScheduler:
    """Return the base's noise schedule; single files are taken to use 1000 scaled-linear steps."""
    if base.is_folder:
        return read_noise_scheduler(base.path / "scheduler", base.prediction_type)
    zero_snr = "ztsnr" in base.file.header.tensors
    return make_noise_scheduler(base.prediction_type, zero_snr=zero_snr)


def load_unet(base: BaseModel, dtype: torch.dtype) -> UNet2DConditionModel:
    """Return the frozen U-Net in `dtype`."""
    if base.is_folder:
        return load_folder_part(UNet2DConditionModel, base, "unet", dtype)
    weights = read_weights(base.path, unet_layout.UNET_PREFIX, dtype)
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    with complete("U-Net", base.path), torch.device("meta"):
        config = unet_layout.unet_config(shapes, base.family.num_heads)
        levels = unet_layout.unet_levels(shapes)
        unet = UNet2DConditionModel(**config)
        weights = unet_layout.unet_to_diffusers(weights, levels)
    return fill(unet, weights, "U-Net", base.path)


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
        return load_folder_part(AutoencoderKL, base, "vae", torch.float32)
    weights = read_weights(base.path, vae_layout.VAE_PREFIX, torch.float32)
    return build_vae(weights, base.family, base.path)


def load_vae_file(path: Path, family: Family) -> AutoencoderKL:
    """Return a VAE from its own file, with or without the checkpoint's prefix."""
    weights = read_weights(path, vae_layout.VAE_PREFIX, torch.float32)
    return build_vae(weights or read_weights(path, "", torch.float32), family, path)


def build_vae(weights: Weights, family: Family, path: Path) -> AutoencoderKL:
    """Build the VAE from weights in the original or diffusers' layout.

    Raises:
        ConfigError: the weights are not a complete AutoencoderKL.
    """
    if "encoder.conv_norm_out.weight" in weights:
        weights = vae_layout.vae_from_diffusers(weights, vae_layout.vae_folder_levels(weights))
    if "encoder.down.0.block.0.conv1.weight" not in weights:
        raise ConfigError(
            f"{path.name} does not contain a VAE in a supported layout.",
            "Use a VAE .safetensors file such as those in models/vae.",
        )
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    with complete("VAE", path), torch.device("meta"):
        vae = AutoencoderKL(**vae_layout.vae_config(shapes, family.scaling_factor))
        weights = vae_layout.vae_to_diffusers(weights)
    return fill(vae, weights, "VAE", path)


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
    return load_folder_part(model, base, kind.folder, dtype)


def load_text_encoder_part(
    base: BaseModel, kind: TextEncoderKind, dtype: torch.dtype
) -> TextEncoder:
    weights = read_weights(base.path, kind.prefix, dtype)
    if kind.open_clip:
        weights = text_layout.open_clip_to_clip(weights)
    elif "embeddings.token_embedding.weight" in weights:  # files of 2022 lack this level
        weights = {f"text_model.{key}": value for key, value in weights.items()}
    weights = {key: v for key, v in weights.items() if not key.endswith("position_ids")}
    projected = "text_projection.weight" in weights and base.family.penultimate and kind.open_clip
    with complete("text encoder", base.path), torch.device("meta"):
        config = text_layout.clip_config(weights, "gelu" if kind.open_clip else "quick_gelu")
        if base.family.drop_last_layer:
            config["num_hidden_layers"] -= 1
        model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(
            CLIPTextConfig(**config)
        )
    expected = dict(model.named_parameters())
    if not any(key.startswith("text_model.") for key in expected):
        weights = {key.removeprefix("text_model."): value for key, value in weights.items()}
    weights = {key: value for key, value in weights.items() if key in expected}
    return fill(model, weights, "text encoder", base.path)


def load_folder_part(kind: Any, base: BaseModel, part: str, dtype: torch.dtype) -> Any:
    """Return one part of a diffusers folder, frozen."""
    path = base.path / part
    if not torch.empty(0).is_meta:
        with complete(part, path):
            model, info = kind.from_pretrained(
                path, output_loading_info=True, **local(base, part, dtype)
            )
            if info["missing_keys"] or info["mismatched_keys"]:  # they would be random
                raise KeyError(sorted(info["missing_keys"])[:1] or info["mismatched_keys"][:1])
        return model.requires_grad_(False)
    if hasattr(kind, "load_config"):  # diffusers
        model = kind.from_config(kind.load_config(path))
        return nn.Module.to(model, dtype).requires_grad_(False)  # its own `to` warns needlessly
    config = CLIPTextConfig.from_pretrained(path)
    return kind(config).to(dtype).requires_grad_(False)


def local(base: BaseModel, part: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return options for `from_pretrained` that never download anything or open a pickle."""
    names = [path.name for path in (base.path / part).glob("*.safetensors")]
    plain = any(".fp16." not in name for name in names)
    return {
        "local_files_only": True,
        "use_safetensors": True,
        "torch_dtype": dtype,
        "variant": None if plain else "fp16",
    }
