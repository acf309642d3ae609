"""The LoRA file: the one layout that every host loads, checked after it was written."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...config.config import Config
from ...files.atomic import write_atomic, write_unique
from ..base.models import BaseModel
from .contract import Trained

__all__ = ["COMPANIONS", "DTYPES", "file_metadata", "save_lora"]

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
COMPANIONS = (".json", ".png")  # a LoRA's card, and a picture of it


def save_lora(wanted: Path, trained: Trained, config: Config, base: BaseModel, steps: int) -> Path:
    """Write the LoRA file and its card, then read the file back and check it; returns its path.

    Args:
        wanted: the path, if neither it nor a file of its name is there yet; else a number is added.

    Raises:
        RuntimeError: what was read back is not what was trained.
    """
    weights = trained.file_weights(DTYPES[config.trained.save_precision])
    wanted.parent.mkdir(parents=True, exist_ok=True)

    def content(path: Path) -> bytes:
        return save(weights, file_metadata(path.stem, config, base, steps))

    path = write_unique(wanted.parent, wanted.stem, ".safetensors", content, COMPANIONS)
    check_lora(path, weights)
    write_atomic(path.with_suffix(".json"), json.dumps(card(config, base, steps), indent=2))
    return path


def check_lora(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError when the file does not hold exactly the expected finite weights."""
    found = load_file(path)
    if found.keys() != expected.keys():
        raise RuntimeError(f"{path}: keys differ: {sorted(found.keys() ^ expected.keys())[:5]}")
    for key, value in found.items():
        if not torch.isfinite(value).all() or not torch.equal(value, expected[key]):
            raise RuntimeError(f"{path}: {key} is damaged")


def file_metadata(stem: str, config: Config, base: BaseModel, steps: int) -> dict[str, str]:
    """Return the metadata by which hosts show, filter and describe the file; all texts.

    Of paths only the last part is kept: a shared LoRA need not tell where the photos are.
    """
    prompts = [concept.instance.instance_prompt for concept in config.concepts]
    return {
        "ss_output_name": stem,
        "ss_base_model_version": base.family.version,
        "ss_sd_model_name": base.path.name,
        "ss_v2": str(base.family.is_v2),
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(config.trained.rank),
        "ss_network_alpha": str(config.trained.effective_alpha),
        "ss_learning_rate": str(config.learning_rate("learning_rate")),
        "ss_steps": str(steps),
        "ss_seed": str(config.training.seed),
        "ss_resolution": f"({config.resolution}, {config.resolution})",
        "ss_tag_frequency": json.dumps({"instance": Counter(prompts)}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{base.variant.architecture}/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": stem,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.resolution": f"{config.resolution}x{config.resolution}",
        "modelspec.prediction_type": "v" if base.predicts_velocity else "epsilon",
        "modelspec.trigger_phrase": ", ".join(prompts),
        "modelspec.description": config.result.description,
        "dreambooth_config": json.dumps(
            config.flat_with_paths(lambda path: Path(path).name), ensure_ascii=False
        ),
    }


def card(config: Config, base: BaseModel, steps: int) -> dict[str, str | float]:
    """Return what A1111 and Forge show on the LoRA's card."""
    return {
        "description": config.result.description,
        "sd version": base.family.card_version,
        "activation text": ", ".join(c.instance.instance_prompt for c in config.concepts),
        "preferred weight": 1.0,
        "notes": f"Trained on {base.path.name} for {steps} steps.",
    }
