"""The LoRA file: the one layout that every host loads, checked after it was written."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...config.config import Config
from ...files.atomic import write_atomic, write_unique
from ...prompts.words import escaped, tags_of, trigger_phrase
from ..base.models import BaseModel
from .contract import Trained

__all__ = ["Origin", "save_lora"]

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
COMPANIONS = (".json", ".png")  # a LoRA's card, and a picture of it


@dataclass(frozen=True)
class Origin:
    """What a result was trained from.

    Args:
        captions: what the photos of each concept were trained with, one a photo.
    """

    config: Config
    base: BaseModel
    steps: int
    captions: Sequence[Sequence[str]]

    @property
    def triggers(self) -> list[str]:
        """The words that show each subject; empty where no words were trained with all photos."""
        pairs = zip(self.config.concepts, self.captions, strict=True)
        return [trigger_phrase(one.instance.instance_prompt, texts) for one, texts in pairs]

    @property
    def trigger(self) -> str:
        """The words that show the subjects, each once."""
        return ", ".join(dict.fromkeys(filter(None, self.triggers)))


def save_lora(wanted: Path, trained: Trained, origin: Origin) -> Path:
    """Write the LoRA file and its card, then read the file back and check it; returns its path.

    Args:
        wanted: the path, if neither it nor a file of its name is there yet; else a number is added.

    Raises:
        RuntimeError: what was read back is not what was trained.
    """
    weights = trained.file_weights(DTYPES[origin.config.lora.save_precision])
    wanted.parent.mkdir(parents=True, exist_ok=True)

    def content(path: Path) -> bytes:
        return save(weights, file_metadata(path.stem, origin))

    path = write_unique(wanted.parent, wanted.stem, ".safetensors", content, COMPANIONS)
    check_lora(path, weights)
    write_atomic(path.with_suffix(".json"), json.dumps(card(origin), indent=2))
    return path


def check_lora(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError when the file does not hold exactly the expected finite weights."""
    found = load_file(path)
    if found.keys() != expected.keys():
        raise RuntimeError(f"{path}: keys differ: {sorted(found.keys() ^ expected.keys())[:5]}")
    for key, value in found.items():
        if not torch.isfinite(value).all() or not torch.equal(value, expected[key]):
            raise RuntimeError(f"{path}: {key} is damaged")


def file_metadata(stem: str, origin: Origin) -> dict[str, str]:
    """Return the metadata by which hosts show, filter and describe the file; all texts.

    Of paths only the last part is kept: a shared LoRA need not tell where the photos are.
    """
    config, base = origin.config, origin.base
    return {
        "ss_output_name": stem,
        "ss_base_model_version": base.family.version,
        "ss_sd_model_name": base.path.name,
        "ss_v2": str(base.family.is_v2),
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.lora.rank),
        "ss_network_alpha": str(config.lora.effective_alpha),
        "ss_learning_rate": str(config.training.learning_rate),
        "ss_steps": str(origin.steps),
        "ss_seed": str(config.training.seed),
        "ss_resolution": f"({config.resolution}, {config.resolution})",
        "ss_tag_frequency": json.dumps(tag_frequency(origin), ensure_ascii=False),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{base.variant.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": stem,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.resolution": f"{config.resolution}x{config.resolution}",
        "modelspec.prediction_type": "v" if base.predicts_velocity else "epsilon",
        "modelspec.trigger_phrase": origin.trigger,
        "dreambooth_triggers": json.dumps(origin.triggers, ensure_ascii=False),
        "modelspec.description": config.result.description,
        "dreambooth_config": json.dumps(
            config.flat_with_paths(lambda path: Path(path).name), ensure_ascii=False
        ),
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
