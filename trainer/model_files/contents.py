"""Whether every tensor of a checkpoint's parts has its place: what all readers of a file share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .families import FAMILIES, Family, FamilyName, TextEncoderKind
from .header import Header, TensorInfo
from .layers import Shapes
from .part_tensors import clip_tensors, open_clip_tensors, vae_tensors
from .quantised import FLOATS, is_companion, quantisation
from .unet_structure import UNetStructure, unet_structure, unet_tensors

__all__ = [
    "POOLED",
    "UNET_PREFIX",
    "VAE_PREFIX",
    "Fault",
    "checkpoint_fault",
    "is_needed",
    "structure",
    "unused",
    "vae_fault",
]

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
POOLED = "text_projection"
SIZES_WIDTH = 6 * 256  # of the embedded sizes, which SDXL appends to the pooled prompt
# Tensors of a part that are never needed: constants, the image half of CLIP, and what only the
# part's own training used.
NOT_NEEDED = (
    r"(^|\.)(position_ids|attn_mask)$|^logit_scale$|^text_projection(\.weight)?$"
    r"|^(text_model\.)?(vision_model|visual|visual_projection|model_ema|loss)\."
)
MARKS = {"v_pred", "ztsnr"}  # tensors that say what the U-Net predicts
OTHER_VERSION = "Use its fp16, bf16 or fp32 version."
OTHER_FILE = "Use another file: this one is damaged, or has a structure that is not supported."
GIVE_VAE = "Give a VAE file as the vae setting, such as those in models/vae."


@dataclass(frozen=True)
class Fault:
    """Why a checkpoint cannot be trained, and what to do; `text` continues "it cannot be ...: "."""

    text: str
    hint: str


def checkpoint_fault(header: Header, family: FamilyName) -> Fault | None:
    """Return what is wrong with the U-Net and text encoders of a single-file checkpoint."""
    row = FAMILIES[family]
    prefixes = [UNET_PREFIX, *(kind.prefix for kind in row.text_encoders)]
    for prefix in prefixes:
        if quantised := quantisation(under(header, prefix)):
            return Fault(quantised, OTHER_VERSION)
    found = next(faults(header, row), None)
    return Fault(found, OTHER_FILE) if found else None


def faults(header: Header, family: Family) -> Iterator[str]:
    unet = structure(header)
    if unet.fault:
        yield unet.fault
    yield from misplaced("U-Net", unet_tensors(unet), part(header, UNET_PREFIX))
    widths = []
    for kind in family.text_encoders:
        tensors = named_text_tensors(part(header, kind.prefix))
        expected = text_tensors(kind, family, shapes_of(tensors))
        yield from misplaced("text encoder", expected, tensors)
        widths.append(next(iter(expected.values()))[1])
    if sum(widths) != unet.context:
        yield f"its text encoders' width is {sum(widths)}, and its U-Net reads {unet.context}"
    if family.size_conditioning and (unet.label_width or 0) - SIZES_WIDTH != widths[-1]:
        yield f"its U-Net does not read the sizes and a pooled prompt of width {widths[-1]}"


def structure(header: Header) -> UNetStructure:
    """Return the structure of a checkpoint's U-Net."""
    return unet_structure(shapes_of(part(header, UNET_PREFIX)))


def text_tensors(
    kind: TextEncoderKind, family: Family, shapes: Shapes
) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a text encoder; the first is its table of tokens."""
    expected = dict((open_clip_tensors if kind.open_clip else clip_tensors)(shapes))
    if kind.open_clip and family.penultimate:
        width = next(iter(expected.values()))[1]
        spelling = POOLED if POOLED in shapes else f"{POOLED}.weight"
        expected[spelling if spelling in shapes else POOLED] = (width, width)
    return expected


def named_text_tensors(tensors: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Add the level that files of 2022 lack to the names of a CLIP text encoder."""
    old = "embeddings.token_embedding.weight" in tensors
    return {f"text_model.{name}" if old else name: tensor for name, tensor in tensors.items()}


def vae_fault(header: Header, prefix: str = VAE_PREFIX) -> Fault | None:
    """Return what is wrong with a VAE under a prefix."""
    tensors = part(header, prefix)
    if any(name.startswith(("taesd_", "encoder.layers.")) for name in tensors):
        return Fault("its VAE is a TAESD, which is only for previews", GIVE_VAE)
    if quantised := quantisation(under(header, prefix)):
        return Fault(quantised, OTHER_VERSION)
    if "encoder.conv_norm_out.weight" in tensors:
        return None  # diffusers' layout: checked when it is renamed
    expected = dict(vae_tensors(shapes_of(tensors)))
    found = next(misplaced("VAE", expected, {k: pointwise(k, t) for k, t in tensors.items()}), None)
    return Fault(found, GIVE_VAE) if found else None


def pointwise(name: str, tensor: TensorInfo) -> TensorInfo:
    """Return the entry of an attention's 1x1 convolution, which some files keep as linear."""
    if ".attn_1." not in name or len(tensor.shape) != 2:
        return tensor
    return TensorInfo(tensor.dtype, (*tensor.shape, 1, 1), tensor.start, tensor.end)


def under(header: Header, prefix: str) -> dict[str, TensorInfo]:
    """Return the tensors under a prefix, by their names without it."""
    tensors = header.tensors.items()
    return {name.removeprefix(prefix): info for name, info in tensors if name.startswith(prefix)}


def part(header: Header, prefix: str) -> dict[str, TensorInfo]:
    """Return a part's own tensors, without those that say how others are stored."""
    tensors = under(header, prefix)
    return {name: info for name, info in tensors.items() if not is_companion(name, tensors)}


def shapes_of(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def misplaced(title: str, expected: Shapes, found: Mapping[str, TensorInfo]) -> Iterator[str]:
    """Yield what is wrong with a part: tensors that are missing, left over, or of another kind."""
    if missing := [name for name in expected if name not in found]:
        yield f"its {title} lacks {tensors_text(len(missing))}, such as {missing[0]}"
    extra = [name for name in found if name not in expected and is_needed(name)]
    if extra:
        count = tensors_text(len(extra))
        yield f"its {title} has {count} without a place in it, such as {extra[0]:.200}"
    for name, shape in expected.items():
        if name in found and found[name].shape != shape:
            yield f"its {title}'s {name} has shape {found[name].shape}, not {shape}"
        if name in found and found[name].dtype not in FLOATS:
            yield f"its {title}'s {name} is stored as {found[name].dtype}, so it is quantized"


def is_needed(name: str) -> bool:
    """Return whether a tensor of a part must have a place in it."""
    return re.search(NOT_NEEDED, name) is None


def tensors_text(number: int) -> str:
    return "1 tensor" if number == 1 else f"{number:,} tensors"


def unused(header: Header, family: FamilyName) -> dict[str, int]:
    """Count the tensors that belong to no part, by the first word of their names."""
    kinds = FAMILIES[family].text_encoders
    prefixes = (UNET_PREFIX, VAE_PREFIX, *(kind.prefix for kind in kinds))
    others = (
        name for name in header.tensors if not name.startswith(prefixes) and name not in MARKS
    )
    return dict(Counter(name.partition(".")[0] for name in others).most_common())
