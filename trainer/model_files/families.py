"""The model families that can be trained: one row each, with all that is specific to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

__all__ = [
    "FAMILIES",
    "Family",
    "FamilyName",
    "TextEncoderKind",
    "Variant",
    "family_of_text_width",
    "family_of_version",
]

FamilyName = Literal["sd1", "sd2", "sdxl"]


@dataclass(frozen=True, eq=False, repr=False)  # neither is used, and each delays hosts
class TextEncoderKind:
    """One text encoder of a family.

    Args:
        prefix: of its weights in a single-file checkpoint.
        mark: a pattern of the key by which it is recognized there.
        open_clip: its weights there are in OpenCLIP's layout, else in CLIP's.
        folder: its name in a diffusers folder.
        pad_id: the token that pads prompts to 77; None: the end token.
        lora_prefix: of its keys in a LoRA file.
    """

    prefix: str
    mark: str
    open_clip: bool
    folder: str
    pad_id: int | None
    lora_prefix: str


@dataclass(frozen=True, eq=False, repr=False)
class Variant:
    """What differs within a family between noise-predicting and velocity-predicting bases.

    Args:
        resolution: the side of the images that such bases were trained on, in pixels.
        architecture: its name in modelspec metadata.
    """

    resolution: int
    architecture: str


@dataclass(frozen=True, eq=False, repr=False)
class Family:
    """What the checkpoints of one Stable Diffusion generation have in common.

    Args:
        title: its name for people.
        text_width: of the prompts that the U-Net's cross attention reads.
        num_heads: attention heads of the U-Net; None: one per 64 channels.
        scaling_factor: of the VAE's latents, if no config states it.
        noise: bases that predict noise.
        velocity: bases that predict velocity; None: as those that predict noise.
        version: `ss_base_model_version` in the metadata of LoRA files.
        version_prefix: what all values of it that other trainers write start with.
        card_version: `sd version` on A1111's cards.
        comfy_class: of its models in `comfy.supported_models`.
        preset: the preset to suggest.
        is_v2: `ss_v2` in the metadata of LoRA files.
        penultimate: prompts are the second-to-last layer's states, without the final norm.
        drop_last_layer: prompts are the second-to-last layer's states, with the final norm.
        size_conditioning: the U-Net also reads the pooled prompt and the image's size.
        skipped_layers: the text encoder's last layers that prompts do not pass before its final
            norm; hosts call one more than this Clip skip.
    """

    name: FamilyName
    title: str
    text_width: int
    text_encoders: tuple[TextEncoderKind, ...]
    num_heads: int | None
    scaling_factor: float
    noise: Variant
    velocity: Variant | None
    version: str
    version_prefix: str
    card_version: str
    comfy_class: str
    preset: str
    is_v2: bool = False
    penultimate: bool = False
    drop_last_layer: bool = False
    size_conditioning: bool = False
    skipped_layers: int = 0

    def variant(self, *, velocity: bool) -> Variant:
        """Return the variant of bases that predict velocity, or of those that predict noise."""
        return self.velocity if velocity and self.velocity else self.noise

    def with_clip_skip(self, clip_skip: int | None) -> Family:
        """Return the family with prompts from another layer; None or 1: from the usual one."""
        return replace(self, skipped_layers=clip_skip - 1) if clip_skip else self

    @property
    def has_clip_skip(self) -> bool:
        """Whether hosts let the user choose the layer: not where the U-Net needs another one."""
        return not (self.penultimate or self.drop_last_layer)

    @property
    def clip_layer(self) -> int:
        """The text encoders' layer that prompts come from, as ComfyUI counts: -1 is the last."""
        return -2 if self.penultimate or self.drop_last_layer else -1


SD1 = Family(
    name="sd1",
    title="SD 1.x",
    text_width=768,
    text_encoders=(
        TextEncoderKind(
            prefix="cond_stage_model.transformer.",
            mark=r"^cond_stage_model\.transformer\.(text_model\.)?embeddings\.token_embedding\.",
            open_clip=False,
            folder="text_encoder",
            pad_id=None,
            lora_prefix="lora_te",
        ),
    ),
    num_heads=8,
    scaling_factor=0.18215,
    noise=Variant(512, "stable-diffusion-v1"),
    velocity=None,
    version="sd_v1",
    version_prefix="sd_v1",
    card_version="SD1",
    comfy_class="SD15",
    preset="sd15-lora",
)
SD2 = Family(
    name="sd2",
    title="SD 2.x",
    text_width=1024,
    text_encoders=(
        TextEncoderKind(
            prefix="cond_stage_model.model.",
            mark=r"^cond_stage_model\.model\.token_embedding\.",
            open_clip=True,
            folder="text_encoder",
            pad_id=0,
            lora_prefix="lora_te",
        ),
    ),
    num_heads=None,
    scaling_factor=0.18215,
    noise=Variant(512, "stable-diffusion-v2-512"),
    velocity=Variant(768, "stable-diffusion-v2-768-v"),
    version="sd_v2",
    version_prefix="sd_v2",
    card_version="SD2",
    comfy_class="SD20",
    preset="sd2-lora",
    is_v2=True,
    drop_last_layer=True,
)
SDXL = Family(
    name="sdxl",
    title="SDXL",
    text_width=2048,
    text_encoders=(
        TextEncoderKind(
            prefix="conditioner.embedders.0.transformer.",
            mark=r"^conditioner\.embedders\.0\.transformer\.text_model\.embeddings\.token_emb",
            open_clip=False,
            folder="text_encoder",
            pad_id=None,
            lora_prefix="lora_te1",
        ),
        TextEncoderKind(
            prefix="conditioner.embedders.1.model.",
            mark=r"^conditioner\.embedders\.1\.model\.token_embedding\.",
            open_clip=True,
            folder="text_encoder_2",
            pad_id=0,
            lora_prefix="lora_te2",
        ),
    ),
    num_heads=None,
    scaling_factor=0.13025,
    noise=Variant(1024, "stable-diffusion-xl-v1-base"),
    velocity=None,
    version="sdxl_base_v1-0",
    version_prefix="sdxl_",
    card_version="SDXL",
    comfy_class="SDXL",
    preset="sdxl-lora",
    penultimate=True,
    size_conditioning=True,
)
FAMILIES: Mapping[FamilyName, Family] = {family.name: family for family in (SD1, SD2, SDXL)}


def family_of_text_width(width: int | None) -> FamilyName | None:
    """Return the family whose cross attention reads text of this width."""
    return next((f.name for f in FAMILIES.values() if f.text_width == width), None)


def family_of_version(version: str) -> FamilyName | None:
    """Return the family that a LoRA's `ss_base_model_version` names."""
    return next((f.name for f in FAMILIES.values() if version.startswith(f.version_prefix)), None)
