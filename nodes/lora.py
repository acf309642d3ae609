"""The node that applies what was trained, a LoRA or a checkpoint, to a model."""

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
from .checkpoint import put_in_place
from .inputs import ResultType
from .lora_fit import Shape, compare, require_fit
from .page import Page
from .prompts import CONFIG_KEY, trigger_prompt
from .wires import TrainedResult

__all__ = ["NODES"]

STRENGTH = Setting("strength", float, 1.0, "", minimum=-10, maximum=10)
STRENGTH_HELP = (
    "How strongly the {0} changes. With a checkpoint, 1 is the trained {0}, 0 the base, and "
    "between them both are mixed."
)


class LoRALoader(io.ComfyNode):
    """Applies a LoRA or a checkpoint to MODEL and CLIP, or refuses one that does not fit."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        strength = {"default": 1.0, "min": STRENGTH.minimum, "max": STRENGTH.maximum, "step": 0.05}
        return io.Schema(
            node_id="DreamBoothLoRALoader",
            display_name="LoRA Loader (DreamBooth)",
            category="DreamBooth",
            description="Applies a LoRA to a model, from DreamBooth Train or by name, and returns "
            "the prompt that triggers its subject. If a checkpoint was trained, its weights take "
            "the place of the model's.",
            inputs=[
                io.Model.Input("model", tooltip="Base model that was trained on."),
                io.Clip.Input("clip", tooltip="Text encoder of the base model."),
                ResultType.Input(
                    "result",
                    optional=True,
                    tooltip="From DreamBooth Train; takes precedence over lora_name.",
                ),
                io.Combo.Input(
                    "lora_name",
                    options=["", *folder_paths.get_filename_list("loras")],
                    default="",
                    tooltip="File in models/loras; ignored while result is connected.",
                ),
                io.Float.Input("strength_model", tooltip=STRENGTH_HELP.format("model"), **strength),
                io.Float.Input(
                    "strength_clip", tooltip=STRENGTH_HELP.format("text encoder"), **strength
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Model with what was trained."),
                io.Clip.Output(display_name="clip", tooltip="Text encoder with what was trained."),
                io.String.Output(
                    display_name="trigger prompt",
                    tooltip="The prompt that was trained.",
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
        result: TrainedResult | None = None,
        **_: Any,
    ) -> io.NodeOutput:
        check_value(replace(STRENGTH, name="strength_model"), strength_model)
        check_value(replace(STRENGTH, name="strength_clip"), strength_clip)
        header = read_file(chosen_file(result, lora_name))
        trigger = result.trigger if result else trigger_prompt(header.metadata)
        strengths = (strength_model, strength_clip)
        if result and result.kind == "checkpoint":
            return io.NodeOutput(*put_in_place(header.path, (model, clip), strengths), trigger)
        shapes = {key: tensor.shape for key, tensor in header.tensors.items()}
        fit = compare(shapes, layer_shapes(model, clip))
        left_out = require_fit(fit, header.path.name, CONFIG_KEY in header.metadata)
        if left_out:
            Page(cls.hidden.unique_id).note("warn", header.path.name, left_out)
        return io.NodeOutput(*put_on(header.path, (model, clip), strengths), trigger)


def chosen_file(result: TrainedResult | None, name: str) -> Path:
    """Return the file on the wire, or else the one with this name.

    Raises:
        ConfigError: there is no such file, or another node's output is connected.
    """
    if isinstance(result, TrainedResult):
        return result.path
    if result is not None:
        raise ConfigError(
            "The result input does not come from DreamBooth Train.",
            "Connect that node or pick a file in lora_name.",
        )
    path = places.model_file("loras", name) if name else None
    if path is None:
        raise ConfigError(
            f"lora_name {name!r:.200} is not in models/loras.",
            "Choose a file, or connect the result of DreamBooth Train.",
        )
    return path


def read_file(path: Path) -> Header:
    """Return a file's tensor names, shapes and metadata.

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
