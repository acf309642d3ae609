"""Identifies a checkpoint, LoRA or diffusers folder without loading it."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

from ..errors import ConfigError
from .contents import UNET_PREFIX, structure, unused
from .diffusers_folder import folder_predicts_velocity, identify_folder, is_file, read_json
from .families import FAMILIES
from .header import Header, PathLike, TensorInfo, read_floats, read_header
from .kinds import STRUCTURES, ModelFile, identify_header
from .lora_kind import LoraInfo

__all__ = [
    "Header",
    "ModelFile",
    "TensorInfo",
    "describe",
    "identify",
    "predicts_velocity",
    "read_header",
    "require_base",
    "require_vae",
    "usual_side",
]

VELOCITY_NORM = f"{UNET_PREFIX}output_blocks.11.1.transformer_blocks.0.norm1.bias"
VELOCITY_CONFIG = re.compile(rb"""parameterization:\s*["']?v\b|\bVScaling""")
MAX_CONFIG_BYTES = 100_000
VELOCITY_DEVIATION = 0.09  # ComfyUI's threshold: below it, SD 2.x predicts noise
USE_BASE = "Use a complete SD 1.x, SD 2.x or SDXL checkpoint (.safetensors)."
OTHER_VAE = "Use another VAE of SD 1.x, SD 2.x or SDXL, such as those in models/vae."
HINTS = {
    "lora": "A LoRA is applied to a base model: give the checkpoint that it was made for.",
    "vae": "Set vae to it, and base to a complete checkpoint.",
    "diffusion_model": "Use the complete checkpoint, which also has the text encoder and VAE.",
}
HOSTS = {
    "kohya": "ComfyUI, A1111, Forge, diffusers",
    "peft": "diffusers; ComfyUI only partly, A1111 not at all",
    "diffusers": "diffusers; ComfyUI and A1111 only partly",
    "other": "unknown",
}
HIGHLIGHTS = (
    *("ss_output_name", "ss_base_model_version", "ss_sd_model_name", "ss_network_module"),
    *("ss_network_dim", "ss_network_alpha", "modelspec.architecture", "modelspec.title"),
    *("modelspec.trigger_phrase", "modelspec.prediction_type", "modelspec.description"),
)
MAX_SHOWN = 200


def identify(path: PathLike) -> ModelFile:
    """Identify a .safetensors file or a diffusers folder.

    Raises:
        ConfigError: it cannot be read, is damaged, a pickle, or not a model.
    """
    path = Path(path)
    return identify_folder(path) if is_folder(path) else identify_header(read_header(path))


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # read_header reports why the path cannot be read


def require_base(path: PathLike, *, vae_given: bool = False) -> ModelFile:
    """Identify a base model that can be trained.

    Args:
        vae_given: another file's VAE is used, so the base need not have one.

    Raises:
        ConfigError: it is not a complete SD 1.x, SD 2.x or SDXL model.
    """
    model = identify(path)
    if model.family is None or model.kind not in ("checkpoint", "diffusers"):
        half_of_another = model.kind == "diffusion_model" and model.family is None
        hint = USE_BASE if half_of_another else HINTS.get(model.kind, USE_BASE)
        raise ConfigError(f"{path} is {model.description}; it cannot be trained.", hint)
    if not model.has_text_encoder:
        raise ConfigError(f"{path} is {model.description}; it cannot be trained.", USE_BASE)
    fault = model.fault or (None if vae_given else model.vae_fault)
    if fault:
        raise ConfigError(
            f"{path} is {model.description}; it cannot be trained: {fault.text}.", fault.hint
        )
    if not model.has_vae and not vae_given:
        raise ConfigError(
            f"{path} is {model.description}; it cannot be trained without one.",
            "Give a VAE file as the vae setting, or use a checkpoint that contains one.",
        )
    return model


def require_vae(path: PathLike) -> ModelFile:
    """Identify a Stable Diffusion VAE, in a file of its own or in a checkpoint.

    Raises:
        ConfigError: it is not a VAE, or belongs to another kind of model.
    """
    model = identify(path)
    if not model.has_vae or model.latent_channels not in (None, 4):
        raise ConfigError(
            f"vae {path} is {model.description}.",
            "Use a VAE of SD 1.x, SD 2.x or SDXL, such as those in models/vae.",
        )
    if model.vae_fault:
        raise ConfigError(f"vae {path} cannot be used: {model.vae_fault.text}.", OTHER_VAE)
    return model


def predicts_velocity(model: ModelFile | PathLike) -> bool | None:
    """Return whether a base predicts velocity rather than noise; None if it cannot be known."""
    model = model if isinstance(model, ModelFile) else identify(model)
    if model.family is None or model.kind not in ("checkpoint", "diffusers", "diffusion_model"):
        return None
    if model.folder:
        return folder_predicts_velocity(model.folder)
    if "v_pred" in model.header.tensors:
        return True
    measured = sd2_predicts_velocity(model.header) if model.family == "sd2" else False
    stated = model.header.metadata.get("modelspec.prediction_type")
    if model.family == "sd2" and measured is not None:
        return measured
    if stated is None:
        return True if config_says_velocity(model.path.with_suffix(".yaml")) else measured
    return stated.startswith("v")


def usual_side(model: ModelFile) -> int | None:
    """Return the side in pixels of the images that such bases were trained on; None if unknown."""
    if model.family is None:
        return None
    return FAMILIES[model.family].variant(velocity=bool(predicts_velocity(model))).resolution


def config_says_velocity(config: Path) -> bool:
    """Whether the .yaml next to a checkpoint, which A1111 and Forge read, says v-prediction."""
    if not is_file(config):
        return False
    with config.open("rb") as file:
        return VELOCITY_CONFIG.search(file.read(MAX_CONFIG_BYTES)) is not None


def sd2_predicts_velocity(header: Header) -> bool | None:
    """Distinguish SD 2.x's two variants by the spread of a late norm's biases, as ComfyUI does."""
    values = read_floats(header, VELOCITY_NORM) if VELOCITY_NORM in header.tensors else None
    if not values or not all(map(math.isfinite, values)):
        return None
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / len(values)
    return variance > VELOCITY_DEVIATION**2


def describe(path: PathLike) -> str:
    """Return a few lines that say what a file is and which hosts load it.

    Raises:
        ConfigError: as `identify` does.
    """
    model = identify(path)
    lines = [f"{model.path.name}: {model.description}", describe_tensors(model.header)]
    lines += describe_lora(model.lora) if model.lora else []
    lines += describe_base(model)
    metadata = model.header.metadata
    lines += [f"{name}: {printable(metadata[name])}" for name in HIGHLIGHTS if name in metadata]
    return "\n".join(lines + describe_sidecar(model))


def describe_tensors(header: Header) -> str:
    counts = Counter(tensor.dtype for tensor in header.tensors.values())
    dtypes = ", ".join(f"{count} {dtype}" for dtype, count in counts.most_common())
    return f"size: {header.size / 2**20:,.1f} MiB, {len(header.tensors)} tensors ({dtypes})"


def describe_lora(lora: LoraInfo) -> list[str]:
    ranks = printable(", ".join(map(str, lora.ranks))) or "unknown"
    alphas = printable(", ".join(f"{alpha:g}" for alpha in lora.alphas))
    alphas = alphas or "none stored (equals rank)"
    hosts = HOSTS[lora.layout]
    return [f"layout: {lora.layout}", f"rank: {ranks}", f"alpha: {alphas}", f"loads in: {hosts}"]


def describe_base(model: ModelFile) -> list[str]:
    if model.family is None or model.kind not in ("checkpoint", "diffusers"):
        return []
    answers = {True: "velocity", False: "noise (epsilon)", None: "not stated"}
    lines = [f"predicts: {answers[predicts_velocity(model)]}"]
    if not model.folder and (names := unused(model.header, model.family)):
        listed = ", ".join(f"{count} {name}" for name, count in names.items())
        lines.append(f"not used: {printable(listed)}")
    if fault := model.fault or model.vae_fault:
        return [*lines, f"cannot be trained: {fault.text}"]
    return [*lines, f"loads in: {base_hosts(model)}"]


def base_hosts(model: ModelFile) -> str:
    """Return which hosts load a base; they know the U-Net's structure from a list."""
    if model.folder:
        return "diffusers"
    if structure(model.header).depths in STRUCTURES:
        return "ComfyUI, A1111, Forge, diffusers"
    return "diffusers; other hosts only if they know this U-Net's structure"


def describe_sidecar(model: ModelFile) -> list[str]:
    """Return the trigger words that A1111 keeps in a .json next to the file."""
    sidecar = model.path.with_suffix(".json")
    if model.kind != "lora" or not is_file(sidecar):
        return []
    words = read_json(sidecar).get("activation text")
    return [f"activation text: {printable(words)}"] if isinstance(words, str) else []


def printable(text: str) -> str:
    """Return one short line without control characters, which a terminal would obey."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: MAX_SHOWN + 1])
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "..."
