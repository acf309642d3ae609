"""Putting a trained LoRA on a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..trainer.errors import ConfigError
from . import places
from .inputs import LoraType
from .lora_fit import Shape, compare, require_fit
from .page import Page
from .wires import TrainedLora

CONFIG_KEY, TRIGGER_KEY = "dreambooth_config", "modelspec.trigger_phrase"


class LoRALoader(io.ComfyNode):
    """Puts a LoRA on MODEL and CLIP, and refuses one that does not fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        strength = {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.05}
        return io.Schema(
            node_id="DreamBoothLoRALoader",
            display_name="LoRA Loader (DreamBooth)",
            category="DreamBooth",
            description="Puts a LoRA on a model, straight from DreamBooth Train or by name, and "
            "gives the prompt that calls its subject.",
            inputs=[
                io.Model.Input("model", tooltip="The model that the LoRA was trained for."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                LoraType.Input(
                    "lora", optional=True, tooltip="From DreamBooth Train; goes before lora_name."
                ),
                io.Combo.Input(
                    "lora_name",
                    options=["", *folder_paths.get_filename_list("loras")],
                    default="",
                    tooltip="A file in models/loras; not looked at while lora is connected.",
                ),
                io.Float.Input("strength_model", tooltip="Strength on the model.", **strength),
                io.Float.Input("strength_clip", tooltip="On the text encoder.", **strength),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                io.String.Output(
                    display_name="trigger prompt", tooltip="The prompt that it was trained with."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        lora_name: str,
        strength_model: float,
        strength_clip: float,
        lora: TrainedLora | None = None,
    ) -> io.NodeOutput:
        path = lora.path if lora else named_file(lora_name)
        weights, metadata = read_file(path)
        shapes = {key: tuple(value.shape) for key, value in weights.items()}
        fit = compare(shapes, layer_shapes(model, clip))
        left_out = require_fit(fit, path.name, CONFIG_KEY in metadata)
        if left_out:
            Page(cls.hidden.unique_id).note("warn", path.name, left_out)
        patched = comfy.sd.load_lora_for_models(model, clip, weights, strength_model, strength_clip)
        return io.NodeOutput(*patched, lora.trigger if lora else trigger_prompt(metadata))


def named_file(name: str) -> Path:
    path = places.model_file("loras", name) if name else None
    if path is None:
        raise ConfigError(
            f"lora_name {name!r} is no file in models/loras.",
            "Choose one, or connect the lora output of DreamBooth Train.",
        )
    return path


def read_file(path: Path) -> tuple[dict[str, Any], Mapping[str, str]]:
    """A LoRA's weights and metadata."""
    if not path.is_file():
        raise ConfigError(f"{path} was deleted.", "Run DreamBooth Train again.")
    weights, metadata = comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    return weights, metadata or {}


def layer_shapes(model: Any, clip: Any) -> dict[str, Shape | None]:
    """Every layer that a LoRA can change, by its name in LoRA files."""
    unet, encoder = model.model, clip.cond_stage_model
    names = comfy.lora.model_lora_keys_unet(unet, {})
    names = comfy.lora.model_lora_keys_clip(encoder, names)
    weights = {**unet.state_dict(), **encoder.state_dict()}
    return {
        name: tuple(weights[key].shape) if isinstance(key, str) and key in weights else None
        for name, key in names.items()
        if isinstance(name, str)
    }


def trigger_prompt(metadata: Mapping[str, str]) -> str:
    """The prompt that calls the subject, as far as the file says."""
    if CONFIG_KEY in metadata:
        return json.loads(metadata[CONFIG_KEY])["instance"]["instance_prompt"]
    return metadata.get(TRIGGER_KEY, "")


NODES = [LoRALoader]
