"""The node that applies a LoRA to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..trainer.config.settings import Setting, check_value
from ..trainer.errors import ConfigError
from ..trainer.model_files.header import Header, read_header
from . import places
from .inputs import LoraType
from .lora_fit import Shape, compare, require_fit
from .page import Page
from .prompts import CONFIG_KEY, trigger_prompt
from .wires import TrainedLora

__all__ = ["NODES"]

STRENGTH = Setting("strength", float, 1.0, "", minimum=-10, maximum=10)


class LoRALoader(io.ComfyNode):
    """Applies a LoRA to MODEL and CLIP, or refuses one that does not fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        strength = {"default": 1.0, "min": STRENGTH.minimum, "max": STRENGTH.maximum, "step": 0.05}
        return io.Schema(
            node_id="DreamBoothLoRALoader",
            display_name="LoRA Loader (DreamBooth)",
            category="DreamBooth",
            description="Applies a LoRA to a model, from DreamBooth Train or by name, and returns "
            "the prompt that triggers its subject.",
            inputs=[
                io.Model.Input("model", tooltip="Base model that the LoRA was trained on."),
                io.Clip.Input("clip", tooltip="Text encoder of the base model."),
                LoraType.Input(
                    "lora",
                    optional=True,
                    tooltip="From DreamBooth Train; takes precedence over lora_name.",
                ),
                io.Combo.Input(
                    "lora_name",
                    options=["", *folder_paths.get_filename_list("loras")],
                    default="",
                    tooltip="File in models/loras; ignored while lora is connected.",
                ),
                io.Float.Input(
                    "strength_model", tooltip="Strength of the LoRA on the model.", **strength
                ),
                io.Float.Input(
                    "strength_clip", tooltip="Strength of the LoRA on the text encoder.", **strength
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Model with the LoRA."),
                io.Clip.Output(display_name="clip", tooltip="Text encoder with the LoRA."),
                io.String.Output(
                    display_name="trigger prompt",
                    tooltip="The prompt that the LoRA was trained with.",
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
        **_: Any,
    ) -> io.NodeOutput:
        check_value(replace(STRENGTH, name="strength_model"), strength_model)
        check_value(replace(STRENGTH, name="strength_clip"), strength_clip)
        header = read_file(chosen_file(lora, lora_name))
        shapes = {key: tensor.shape for key, tensor in header.tensors.items()}
        fit = compare(shapes, layer_shapes(model, clip))
        left_out = require_fit(fit, header.path.name, CONFIG_KEY in header.metadata)
        if left_out:
            Page(cls.hidden.unique_id).note("warn", header.path.name, left_out)
        patched = put_on(header.path, (model, clip), (strength_model, strength_clip))
        return io.NodeOutput(*patched, lora.trigger if lora else trigger_prompt(header.metadata))


def chosen_file(lora: TrainedLora | None, name: str) -> Path:
    """Return the file on the wire, or else the one with this name.

    Raises:
        ConfigError: there is no such file, or another node's output is connected.
    """
    if isinstance(lora, TrainedLora):
        return lora.path
    if lora is not None:  # other packs may also have a wire type LORA
        raise ConfigError(
            "The lora input does not come from DreamBooth Train.",
            "Connect that node or pick a file in lora_name.",
        )
    path = places.model_file("loras", name) if name else None
    if path is None:
        raise ConfigError(
            f"lora_name {name!r:.200} is not in models/loras.",
            "Choose a file, or connect the lora output of DreamBooth Train.",
        )
    return path


def read_file(path: Path) -> Header:
    """Return a LoRA's tensor names, shapes and metadata.

    Raises:
        ConfigError: the file is missing, or is not a complete safetensors file.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist anymore.", "Put it back, or run DreamBooth Train again."
        )
    return read_header(path)


def put_on(path: Path, models: tuple[Any, Any], strengths: tuple[float, float]) -> tuple[Any, Any]:
    """Return copies of MODEL and CLIP with the LoRA applied.

    Raises:
        ConfigError: ComfyUI cannot apply the LoRA.
    """
    weights = comfy.utils.load_torch_file(str(path), safe_load=True)
    try:
        return comfy.sd.load_lora_for_models(*models, weights, *strengths)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"ComfyUI cannot apply {path.name} ({error!r:.200}).",
            "It may be damaged, or of a kind that this ComfyUI does not know. Use another LoRA.",
        ) from error


def layer_shapes(model: Any, clip: Any) -> dict[str, Shape | None]:
    """Return the shape of every layer that a LoRA can change, by its name in LoRA files."""
    unet, encoder = model.model, clip.cond_stage_model
    names = comfy.lora.model_lora_keys_unet(unet, {})
    names = comfy.lora.model_lora_keys_clip(encoder, names)
    weights = {**unet.state_dict(), **encoder.state_dict()}
    return {
        name: tuple(weights[key].shape) if isinstance(key, str) and key in weights else None
        for name, key in names.items()
        if isinstance(name, str)
    }


NODES = [LoRALoader]
