"""Identifies a diffusers folder by its small JSON files and its weights' headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files.input_file import read_object, unreadable
from .families import FAMILIES, FamilyName
from .header import CONVERT, DOWNLOAD_AGAIN, Header, read_header
from .kinds import ModelFile, checkpoint_description, plain_unet

__all__ = ["folder_predicts_velocity", "identify_folder", "is_file", "part_files", "read_json"]

MAX_JSON_BYTES = 1_000_000
SHARD = re.compile(r"-[0-9]{5}-of-([0-9]{5})$")
WHOLE_FOLDER = "Download the whole folder again, or use a .safetensors checkpoint."


def identify_folder(folder: Path) -> ModelFile:
    """Identify a diffusers folder by its U-Net's config.

    Raises:
        ConfigError: it is not a diffusers folder, has no U-Net, or has pickled or damaged weights.
    """
    if not is_file(folder / "model_index.json"):
        raise ConfigError(
            f"{folder} is a folder without model_index.json, so it is not a diffusers model.",
            "Give a .safetensors checkpoint, or the folder that contains model_index.json.",
        )
    pipeline = read_json(folder / "model_index.json").get("_class_name")
    if not is_file(folder / "unet" / "config.json"):
        raise ConfigError(
            f"{folder} contains a {pipeline!r:.60} model without unet/config.json.",
            "Use a complete diffusers folder of SD 1.x, SD 2.x or SDXL.",
        )
    family, title = folder_unet(read_json(folder / "unet" / "config.json"))
    if another := another_process(folder):
        family, title = None, f"{title} with {another}"
    kinds = FAMILIES[family].text_encoders if family else ()
    encoders = [kind.folder for kind in kinds] or ["text_encoder"]
    has_text_encoder = all([has_part(folder, encoder) for encoder in encoders])
    has_vae = has_part(folder, "vae")
    description = checkpoint_description(title, "diffusers folder", has_vae, has_text_encoder)
    header = unet_header(folder)
    return ModelFile(
        header, "diffusers", family, description, has_vae, has_text_encoder, folder=folder
    )


def folder_unet(config: Mapping[str, Any]) -> tuple[FamilyName | None, str]:
    """Return the family and title of a diffusers U-Net's config."""
    context = config.get("cross_attention_dim")
    if isinstance(context, list) and context:
        context = context[0]
    if config.get("time_cond_proj_dim") is not None:
        return None, "LCM (distilled)"
    labelled = any(config.get(name) for name in ("addition_embed_type", "class_embed_type"))
    in_channels = config.get("in_channels", 4)
    if not isinstance(context, int) or not isinstance(in_channels, int):
        return None, "latent diffusion"
    return plain_unet(in_channels, context, labelled)


def another_process(folder: Path) -> str | None:
    """Return how a folder's noise or latents differ from Stable Diffusion's; None: they do not."""
    schedule, vae = (
        read_json(path) if is_file(path) else {}
        for path in (folder / "scheduler/scheduler_config.json", folder / "vae/config.json")
    )
    name, prediction = str(schedule.get("_class_name", "")), schedule.get("prediction_type")
    for kind in ("EDM", "Flow"):
        if kind in name:
            return f"another noise schedule ({kind})"
    if prediction not in (None, "epsilon", "v_prediction"):
        return f"another prediction ({prediction!r:.40})"
    if vae.get("latents_mean") is not None:
        return "latents on another scale"
    return None


def has_part(folder: Path, part: str) -> bool:
    return is_file(folder / part / "config.json") and bool(part_headers(folder, part))


def part_headers(folder: Path, part: str) -> list[Header]:
    """Return the headers of one part's weight files: one file, or all its shards.

    Raises:
        ConfigError: a file is damaged, a shard is missing, or there are only pickles.
    """
    headers = {path: read_header(path) for path in sorted((folder / part).glob("*.safetensors"))}
    pickles = sorted((folder / part).glob("*.bin"))
    if pickles and not headers:
        raise ConfigError(
            f"{pickles[0]} is a pickle file, which is not opened because it can run any code.",
            "Download the folder's .safetensors weights instead. " + CONVERT,
        )
    sets: dict[str, list[Path]] = {}
    for path in headers:
        sets.setdefault(SHARD.sub("", path.stem), []).append(path)
    if not sets:
        return []
    chosen = sets[min(sets, key=preference)]
    check_shards(chosen)
    return [headers[path] for path in chosen]


def preference(stem: str) -> tuple[int, bool, str]:
    """Order the sets of weights in a folder: plain ones come before variants such as fp16."""
    return stem.count("."), stem not in ("diffusion_pytorch_model", "model"), stem


def check_shards(paths: list[Path]) -> None:
    """Raise ConfigError unless all shards of a set of weights are there."""
    found = SHARD.search(paths[0].stem)
    total = int(found[1]) if found else 1
    if len(paths) != total:
        raise ConfigError(
            f"{paths[0].parent} has {len(paths)} of the {total} files of its weights.",
            WHOLE_FOLDER,
        )


def part_files(folder: Path, part: str) -> list[Path]:
    """Return the weight files of one part that are read."""
    return [header.path for header in part_headers(folder, part)]


def unet_header(folder: Path) -> Header:
    headers = part_headers(folder, "unet")
    if not headers:
        raise ConfigError(f"{folder / 'unet'} contains no .safetensors weights.", WHOLE_FOLDER)
    return headers[0]


def folder_predicts_velocity(folder: Path) -> bool | None:
    """Return whether the scheduler's config says v-prediction; None if it does not say."""
    path = folder / "scheduler" / "scheduler_config.json"
    prediction = read_json(path).get("prediction_type") if is_file(path) else None
    return None if prediction is None else prediction == "v_prediction"


def is_file(path: Path) -> bool:
    """Whether a path is a file; raises ConfigError if that cannot be known."""
    try:
        return path.is_file()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a folder's small JSON files."""
    return read_object(path, MAX_JSON_BYTES, DOWNLOAD_AGAIN)
