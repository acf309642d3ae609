"""What a result was trained from, and what its file says of that."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...config.config import Config
from ...prompts.lists import TRIGGERS_KEY
from ...prompts.words import trigger_phrase
from ..base.models import BaseModel

__all__ = ["CONFIG_KEY", "DTYPES", "Origin", "result_metadata"]

CONFIG_KEY = "dreambooth_config"  # in a result's metadata: all settings, without folders
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


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


def result_metadata(stem: str, architecture: str, origin: Origin) -> dict[str, str]:
    """Return the metadata by which hosts describe a result; all texts.

    Of paths only the last part is kept: a shared file need not tell where the photos are.
    """
    config, clip_skip = origin.config, origin.base.clip_skip
    layer = {"modelspec.encoder_layer": str(clip_skip)} if clip_skip > 1 else {}
    return layer | {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": stem,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "modelspec.resolution": f"{config.resolution}x{config.resolution}",
        "modelspec.prediction_type": "v" if origin.base.predicts_velocity else "epsilon",
        "modelspec.trigger_phrase": origin.trigger,
        TRIGGERS_KEY: json.dumps(origin.triggers, ensure_ascii=False),
        "modelspec.description": config.result.description,
        CONFIG_KEY: json.dumps(
            config.flat_with_paths(lambda path: Path(path).name), ensure_ascii=False
        ),
    }
