"""A trained checkpoint in place of the model on the wires."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.sd

from ..trainer.errors import ConfigError
from ..trainer.model_files.identify import identify
from .base import family_of

__all__ = ["put_in_place"]

UNET_PREFIX = "diffusion_model."
NOT_WEIGHTS = (".position_ids", ".logit_scale")  # as in ComfyUI's own nodes that merge
OTHER_BASE = "Load the checkpoint that it was trained on."


def put_in_place(
    path: Path, wires: tuple[Any, Any], strengths: tuple[float, float]
) -> tuple[Any, Any]:
    """Return copies of MODEL and CLIP with a checkpoint's weights in place of their own.

    Args:
        strengths: 1 for the checkpoint's weights alone, 0 for those on the wires; others mix both.

    Raises:
        ConfigError: the checkpoint is of another kind of model.
    """
    require_same_family(path, wires[0])
    trained = comfy.sd.load_checkpoint_guess_config(str(path), output_vae=False)
    parts = (trained[0].get_key_patches(UNET_PREFIX), trained[1].get_key_patches())
    modules = (wires[0].model, wires[1].cond_stage_model)
    mixed = []
    for wire, weights, module, strength in zip(wires, parts, modules, strengths, strict=True):
        require_same_shapes(path, weights, module)
        mixed.append(mix(wire, weights, strength))
    return mixed[0], mixed[1]


def require_same_family(path: Path, model: Any) -> None:
    found, wanted = identify(path), family_of(model)
    if wanted is None or found.family != wanted.name:
        on_wire = wanted.title if wanted else type(model.model.model_config).__name__
        raise ConfigError(
            f"{path.name} is {found.description}; the MODEL wire carries {on_wire}.", OTHER_BASE
        )


def require_same_shapes(path: Path, weights: Mapping[str, Any], module: Any) -> None:
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name, ((weight, _), *_) in weights.items():
        if shapes.get(name) != tuple(weight.shape):
            raise ConfigError(
                f"{path.name} was trained on a different base model ({name:.200}).", OTHER_BASE
            )


def mix(wire: Any, weights: Mapping[str, Any], strength: float) -> Any:
    """Return a copy of a wire whose weights are (1 - strength) * its own + strength * others."""
    mixed = wire.clone()
    kept = {name: value for name, value in weights.items() if not name.endswith(NOT_WEIGHTS)}
    mixed.add_patches(kept, strength, 1 - strength)
    return mixed
