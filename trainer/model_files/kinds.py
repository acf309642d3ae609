"""Identifies a safetensors file by the names and shapes of its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .contents import UNET_PREFIX, VAE_PREFIX, Fault, checkpoint_fault, structure, vae_fault
from .families import FAMILIES, FamilyName, family_of_text_width
from .header import Header
from .lora_kind import LoraInfo, find, has_key, lora_family, lora_info, other_lora_model
from .marks import CONTROLS, PARTS, TRANSFORMERS, Kind

__all__ = ["STRUCTURES", "ModelFile", "checkpoint_description", "identify_header", "plain_unet"]

IN_CHANNEL_TITLES = {
    5: "depth-guided SD 2.x",
    7: "SD x4 upscaler",
    8: "InstructPix2Pix (8 input channels)",
    9: "inpainting (9 input channels)",
}
SD_WAYS = ((1, 1), (1, 1), (1, 1), (0, 0), 1, (0, 0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1))
SDXL_WAYS = ((0, 0), (2, 2), (10, 10), 10, (10, 10, 10), (2, 2, 2), (0, 0, 0))
STRUCTURES = {  # U-Nets that all hosts know, by their transformers' depths
    SD_WAYS: "",  # the family's name says it
    SDXL_WAYS: "",
    ((0, 0), (2, 2), (4, 4), 0, (4, 4, 10), (2, 1, 1), (0, 0, 0)): "SSD-1B",
    ((0, 0), (1, 1), (2, 2), 0, (2, 2, 2), (1, 1, 1), (0, 0, 0)): "Segmind-Vega",
}
EMA_UNET = r"^model_ema\.diffusion_model"
ANY_TEXT_ENCODER = r"^(cond_stage_model|conditioner|text_encoders?)\."
VAE_PARTS = (
    r"^first_stage_model\.(encoder\.conv_in|taesd_encoder\.0)\.",
    r"^first_stage_model\.(decoder\.conv_in|taesd_decoder\.1)\.",
)
CONTEXT = r"attn2\.to_k\.weight$"
DIFFUSERS_UNET = r"^(unet\.)?conv_in\.weight$"
DIFFUSERS_BLOCKS = r"^(unet\.)?up_blocks\.0\."
VAE_FILE = r"^((first_stage_model|vae)\.)?(decoder\.conv_in|taesd_decoder\.1)\.weight$"


@dataclass(frozen=True)
class ModelFile:
    """The identity of a model file or diffusers folder.

    Args:
        header: of the file, or of a folder's U-Net.
        family: set only for plain SD 1.x, SD 2.x and SDXL, so not for inpainting models.
        description: for people, such as "an SD3 checkpoint".
        folder: the diffusers folder.
        latent_channels: of a VAE file.
        fault: why its U-Net or text encoders cannot be used; None: they can.
        vae_fault: the same of its VAE.
    """

    header: Header
    kind: Kind
    family: FamilyName | None
    description: str
    has_vae: bool = False
    has_text_encoder: bool = False
    lora: LoraInfo | None = None
    folder: Path | None = None
    latent_channels: int | None = None
    fault: Fault | None = None
    vae_fault: Fault | None = None

    @property
    def path(self) -> Path:
        """The file, or the diffusers folder."""
        return self.folder or self.header.path


def identify_header(header: Header) -> ModelFile:
    """Identify a file; the first rule that matches wins."""
    rules = (as_control, as_lora, as_unet, as_transformer, as_diffusers_unet, as_ema, as_vae)
    found = (rule(header) for rule in (*rules, as_part))
    return next((model for model in found if model), None) or as_embedding(header)


def as_control(header: Header) -> ModelFile | None:
    return by_mark(header, CONTROLS)


def as_part(header: Header) -> ModelFile | None:
    return by_mark(header, PARTS)


def by_mark(header: Header, marks: tuple[tuple[str, Kind, str], ...]) -> ModelFile | None:
    for description, kind, mark in marks:
        if has_key(header, mark):
            return ModelFile(header, kind, None, description)
    return None


def as_lora(header: Header) -> ModelFile | None:
    info = lora_info(header)
    if info is None:
        return None
    other = other_lora_model(header)
    family = None if other else lora_family(header)
    title = FAMILIES[family].title if family else other or "an unknown model"
    return ModelFile(header, "lora", family, f"a {info.algorithm} for {title}", lora=info)


def as_unet(header: Header) -> ModelFile | None:
    """Identify a checkpoint or a single U-Net in the original layout."""
    for prefix in (UNET_PREFIX, ""):
        first = header.tensors.get(f"{prefix}input_blocks.0.0.weight")
        if first and len(first.shape) == 4:
            family, title = original_unet(header, prefix, first.shape[1])
            if family and prefix:
                title = STRUCTURES.get(structure(header).depths) or title
            return checkpoint(header, family, title)
    return None


def original_unet(header: Header, prefix: str, in_channels: int) -> tuple[FamilyName | None, str]:
    """Return the family and title of a U-Net in the original layout."""
    names = header.tensors
    if any(".time_stack." in name for name in names):
        return None, "Stable Video Diffusion"
    if "edm_mean" in names:
        return None, "Playground v2.5"
    if "edm_vpred.sigma_max" in names:
        return None, "EDM v-prediction SDXL (CosXL)"
    if f"{prefix}time_embed.cond_proj.weight" in names:
        return None, "LCM (distilled)"
    labelled = any(name.startswith(f"{prefix}label_emb.") for name in names)
    return plain_unet(in_channels, context_width(header), labelled)


def plain_unet(
    in_channels: int, context: int | None, labelled: bool
) -> tuple[FamilyName | None, str]:
    """Return the family and title of a Stable Diffusion U-Net.

    Args:
        context: width of the text that its cross attention reads.
        labelled: it has an embedding besides time and text, such as SDXL's for sizes.
    """
    if in_channels != 4:
        return None, IN_CHANNEL_TITLES.get(in_channels, f"{in_channels}-channel latent diffusion")
    family = family_of_text_width(context)
    if family and labelled == FAMILIES[family].size_conditioning:
        return family, FAMILIES[family].title
    if context == 1280:
        return None, "SDXL refiner"
    if context == 1024:
        return None, "SD 2.x unCLIP"
    return None, f"latent diffusion (text width {context!s:.20})"


def context_width(header: Header) -> int | None:
    tensor = find(header, CONTEXT)
    return tensor.shape[1] if tensor and len(tensor.shape) == 2 else None


def checkpoint(header: Header, family: FamilyName | None, title: str) -> ModelFile:
    """Return what a file is by the parts of a checkpoint that it has."""
    encoders = FAMILIES[family].text_encoders if family else ()
    marks = [kind.mark for kind in encoders] or [ANY_TEXT_ENCODER]
    has_text_encoder = all(has_key(header, mark) for mark in marks)
    has_vae = all(has_key(header, part) for part in VAE_PARTS)
    is_checkpoint = has_text_encoder or has_vae
    kind = "checkpoint" if is_checkpoint else "diffusion_model"
    noun = "checkpoint" if is_checkpoint else "U-Net"
    whole = is_checkpoint and family and has_text_encoder
    return ModelFile(
        header,
        kind,
        family,
        checkpoint_description(title, noun, has_vae, has_text_encoder),
        has_vae,
        has_text_encoder,
        fault=checkpoint_fault(header, family) if family and whole else None,
        vae_fault=vae_fault(header) if has_vae else None,
    )


def checkpoint_description(title: str, noun: str, has_vae: bool, has_text_encoder: bool) -> str:
    """Return a description that names the missing parts, such as "an SDXL U-Net without VAE"."""
    parts = {"text encoder": has_text_encoder, "VAE": has_vae}
    missing = " or ".join(name for name, there in parts.items() if not there)
    return f"{with_article(title)} {noun}" + (f" without {missing}" if missing else "")


def with_article(title: str) -> str:
    return ("an " if title.startswith(("SD", "SSD", "LCM", "EDM", "I", "i")) else "a ") + title


def as_transformer(header: Header) -> ModelFile | None:
    title = next((name for name, mark in TRANSFORMERS.items() if has_key(header, mark)), None)
    if title is None:
        return None
    whole = has_key(header, r"^(text_encoders|first_stage_model|vae)\.")
    kind = "checkpoint" if whole else "diffusion_model"
    return ModelFile(header, kind, None, f"{title} {'checkpoint' if whole else 'diffusion model'}")


def as_diffusers_unet(header: Header) -> ModelFile | None:
    first = find(header, DIFFUSERS_UNET)
    if not first or len(first.shape) != 4 or not has_key(header, DIFFUSERS_BLOCKS):
        return None
    labelled = any("add_embedding." in name or "class_embed" in name for name in header.tensors)
    family, title = plain_unet(first.shape[1], context_width(header), labelled)
    description = f"{with_article(title)} U-Net in diffusers layout"
    return ModelFile(header, "diffusion_model", family, description)


def as_ema(header: Header) -> ModelFile | None:
    """Identify a checkpoint that kept only the running average of its U-Net's weights."""
    if not has_key(header, EMA_UNET):
        return None
    has_vae = all(has_key(header, part) for part in VAE_PARTS)
    description = "a checkpoint with only EMA weights (model_ema), which hosts do not load"
    fault = vae_fault(header) if has_vae else None
    return ModelFile(header, "checkpoint", None, description, has_vae, vae_fault=fault)


def as_vae(header: Header) -> ModelFile | None:
    first = find(header, VAE_FILE)
    if not first or len(first.shape) != 4:
        return None
    prefix = VAE_PREFIX if has_key(header, rf"^{VAE_PREFIX}") else ""
    return ModelFile(
        header,
        "vae",
        None,
        f"a VAE with {first.shape[1]} latent channels",
        has_vae=True,
        latent_channels=first.shape[1],
        vae_fault=vae_fault(header, prefix),
    )


def as_embedding(header: Header) -> ModelFile:
    """Identify a textual inversion, with vectors per text encoder; any other file is unknown."""
    names = set(header.tensors)
    if names in ({"clip_l", "clip_g"}, {"clip_g"}):
        return embedding(header, "sdxl")
    if len(names) == 1:
        shape = next(iter(header.tensors.values())).shape
        family = family_of_text_width(shape[-1]) if 1 <= len(shape) <= 2 else None
        if family and len(FAMILIES[family].text_encoders) == 1:
            return embedding(header, family)
    return ModelFile(header, "other", None, "a safetensors file of an unknown model")


def embedding(header: Header, family: FamilyName) -> ModelFile:
    """Return a textual inversion for a family."""
    description = f"a textual inversion embedding for {FAMILIES[family].title}"
    return ModelFile(header, "embedding", family, description)
