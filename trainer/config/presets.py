"""Presets: named starting points for a goal, each with the settings that differ from defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..model_files.families import FamilyName
from .settings import nearest

__all__ = ["PRESETS", "Preset", "preset_values"]


@dataclass(frozen=True)
class Preset:
    """The settings for one goal, with a help text.

    Args:
        family: of the only models that it is for; None: any.
    """

    help: str
    values: Mapping[str, Any]
    family: FamilyName | None = None


FULL = {"method": "full", "train_text_encoder": True, "learning_rate": 5e-6}
SMALL_STATE = {"optimizer": "adamw8bit", "class_batch_size": 1}
LESS_MEMORY = {**SMALL_STATE, "gradient_checkpointing": "on"}

PRESETS: dict[str, Preset] = {
    "sd15-lora": Preset("Subject: SD 1.x at 512 px.", {}, "sd1"),
    "sd2-lora": Preset("Subject: SD 2.x at 768 px, SD 2 base models at 512.", {}, "sd2"),
    "sdxl-lora": Preset("Subject: SDXL at 1024 px.", {}, "sdxl"),
    "sd15-full": Preset(
        "Full fine-tune of SD 1.x with its text encoder: ends in a whole checkpoint.",
        {**FULL, "max_train_steps": 400},
        "sd1",
    ),
    "sd2-full": Preset(
        "Full fine-tune of SD 2.x with its text encoder: ends in a whole checkpoint.",
        {**FULL, "max_train_steps": 400},
        "sd2",
    ),
    "sdxl-lora-published": Preset(
        "SDXL as in diffusers' example: rank 4 on attention layers, fp16. Give an fp16-safe VAE.",
        {
            "rank": 4,
            "train_layers": "*attn1*, *attn2*",
            "max_train_steps": 500,
            "learning_rate": 1e-4,
            "gradient_accumulation_steps": 4,
            "optimizer": "adamw8bit",
            "weight_decay": 1e-4,
            "gradient_checkpointing": "on",
            "mixed_precision": "fp16",
            "attention": "xformers",
            "latents": "sampled",
            "seed": 0,
        },
        "sdxl",
    ),
    "paper": Preset(
        "DreamBooth as in the paper: a full fine-tune with prior preservation. Needs a class "
        "prompt.",
        {
            **FULL,
            "max_train_steps": 1000,
            "num_class_images": 200,
            "prior_loss_weight": 1.0,
            "class_sampler": "euler_ancestral",
            "class_inference_steps": 50,
            "latents": "sampled",
        },
    ),
    "face": Preset(
        'Face: "a photo of sks woman", class prompt "a photo of a woman"; 4 to 8 photos.',
        {"subject_kind": "face", "max_train_steps": 1200, "num_class_images": 200},
    ),
    "pet": Preset(
        'Pet: "a photo of sks dog", class prompt "a photo of a dog"; 4 to 8 photos.',
        {"subject_kind": "pet", "max_train_steps": 1000},
    ),
    "object": Preset(
        'Object: "a photo of sks backpack", class prompt "a photo of a backpack"; 4 to 8 photos.',
        {"subject_kind": "object", "max_train_steps": 800},
    ),
    "style": Preset(
        'Style: "a painting in sks style"; keeps aspect ratios; 10 to 20 photos.',
        {
            "subject_kind": "style",
            "crop_mode": "none",
            "max_train_steps": 1500,
            "rank": 32,
            "noise_offset": 0.1,
        },
    ),
    "environment": Preset(
        'Place: "a photo of sks garden"; keeps aspect ratios, adds mirrored copies; 8 to 20 '
        "photos.",
        {"subject_kind": "environment", "crop_mode": "none", "flip": True, "max_train_steps": 1200},
    ),
    "low-vram-16": Preset("For 16 GB of GPU memory: an 8-bit optimizer.", SMALL_STATE),
    "low-vram-12": Preset("For 12 GB of GPU memory.", LESS_MEMORY),
    "low-vram-10": Preset("For 10 GB of GPU memory.", {**LESS_MEMORY, "rank": 8}),
    "low-vram-8": Preset(
        "For 8 GB of GPU memory: the base in 8 bits.",
        {**LESS_MEMORY, "base_precision": "fp8", "rank": 8},
    ),
    "low-vram-6": Preset(
        "For 6 GB of GPU memory: the base in 4 bits.",
        {**LESS_MEMORY, "base_precision": "nf4", "rank": 4},
    ),
}


def preset_values(name: str) -> dict[str, Any]:
    """Return the settings of a preset.

    Raises:
        ConfigError: there is no preset of this name.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}.", nearest(name, PRESETS))
    return dict(PRESETS[name].values)
