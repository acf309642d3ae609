"""The LoRA file: the one layout that every host loads, checked after it was written."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from ...files.atomic import write_atomic, write_unique
from ...prompts.words import escaped, tags_of
from ..base.models import BaseModel
from ..base.weights import check_written
from .contract import Trained
from .origin import DTYPES, Origin, result_metadata

__all__ = ["COMPANIONS", "network_metadata", "save_lora"]

COMPANIONS = (".json", ".png")  # a LoRA's card, and a picture of it


def save_lora(wanted: Path, trained: Trained, origin: Origin) -> Path:
    """Write the LoRA file and its card, then read the file back and check it; returns its path.

    Args:
        wanted: the path, if neither it nor a file of its name is there yet; else a number is added.

    Raises:
        RuntimeError: what was read back is not what was trained.
    """
    weights = trained.file_weights(DTYPES[origin.config.trained.save_precision])
    wanted.parent.mkdir(parents=True, exist_ok=True)

    def content(path: Path) -> bytes:
        return save(weights, lora_metadata(path.stem, origin))

    path = write_unique(wanted.parent, wanted.stem, ".safetensors", content, COMPANIONS)
    check_written(path, weights)
    write_atomic(path.with_suffix(".json"), json.dumps(card(origin), indent=2))
    return path


def lora_metadata(stem: str, origin: Origin) -> dict[str, str]:
    """Return the metadata by which hosts show, filter and describe a LoRA; all texts."""
    config, base = origin.config, origin.base
    own = {
        "ss_output_name": stem,
        "ss_learning_rate": str(config.learning_rate("learning_rate")),
        "ss_steps": str(origin.steps),
        "ss_seed": str(config.training.seed),
        "ss_resolution": f"({config.resolution}, {config.resolution})",
        "ss_tag_frequency": json.dumps(tag_frequency(origin), ensure_ascii=False),
        **network_metadata(base, config.trained.rank, config.trained.effective_alpha),
    }
    if base.clip_skip > 1:
        own["ss_clip_skip"] = str(base.clip_skip)
    return own | result_metadata(stem, f"{base.variant.architecture}/lora", origin)


def network_metadata(base: BaseModel, rank: int, alpha: float) -> dict[str, str]:
    """Return what hosts ask of any LoRA: its base, and its size."""
    return {
        "ss_base_model_version": base.family.version,
        "ss_sd_model_name": base.path.name,
        "ss_v2": str(base.family.is_v2),
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(alpha),
    }


def tag_frequency(origin: Origin) -> dict[str, dict[str, int]]:
    """Return how often each tag was trained, by concept."""
    names = ["instance", *(f"instance {n}" for n in range(2, len(origin.captions) + 1))]
    return {name: tags_of(texts) for name, texts in zip(names, origin.captions, strict=True)}


def card(origin: Origin) -> dict[str, str | float]:
    """Return what A1111 and Forge show on the LoRA's card.

    They insert the activation text into a prompt, so that what would be syntax there is escaped.
    """
    config, base = origin.config, origin.base
    text, left_out = escaped(origin.trigger)
    notes = [f"Trained on {base.path.name} for {origin.steps} steps."]
    if base.clip_skip > 1:
        notes.append(f"Use it with Clip skip {base.clip_skip}.")
    if left_out:
        notes.append(f"Trained as plain text, and syntax here: {', '.join(left_out)}.")
    if not origin.trigger:
        notes.append(f'The captions share no words; one of them: "{origin.captions[0][0]}".')
    return {
        "description": config.result.description,
        "sd version": base.family.card_version,
        "activation text": text,
        "preferred weight": 1.0,
        "notes": " ".join(notes),
    }
