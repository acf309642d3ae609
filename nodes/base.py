"""The base model behind the MODEL, CLIP and VAE wires: a file, or a patched model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import comfy.model_sampling
import comfy.sd
import comfy.supported_models
import torch

from ..trainer.config.concept import USUAL_SIDE_PX
from ..trainer.errors import ConfigError
from ..trainer.files.atomic import MARK, settle
from ..trainer.files.fingerprint import file_sha256
from ..trainer.files.own import keep_only
from ..trainer.model_files.families import FAMILIES, Family
from . import places
from .graph import Prompt, straight_wires, wires_key
from .wires import Base, clip_skip_of

__all__ = ["Wires", "export", "family_of", "find_base", "usual_side"]

NAMES = ("model", "clip", "vae")
EXPORTED = re.compile(r"([0-9a-f]{20}|partial_[0-9a-f]{12})\.safetensors")
KINDS = [(getattr(comfy.supported_models, f.comfy_class), f) for f in FAMILIES.values()]
TRAINABLE = tuple(kind for kind, _ in KINDS)


@dataclass(frozen=True)
class Wires:
    """The three parts of a model as ComfyUI passes them; never modified here."""

    model: Any
    clip: Any
    vae: Any


def find_base(wires: Wires, prompt: Prompt, node: str) -> Base:
    """Return the base model on a node's wires.

    Args:
        prompt: the queued graph.
        node: the node's id in it.

    Raises:
        ConfigError: the model cannot be trained.
    """
    prediction = prediction_type(wires.model)
    clip_skip, notes = clip_skip_of(wires.clip.layer_idx, family_of(wires.model))
    straight = straight_wires(prompt, node)
    if straight is not None:
        path = places.model_file("checkpoints", straight.checkpoint)
        vae = None if straight.vae is None else places.model_file(*straight.vae)
        if path is not None and (vae is not None) == (straight.vae is not None):
            return Base({"base": file_sha256(path)}, path, vae, prediction, notes, clip_skip)
    require_trainable(wires.model)
    key = wires_key(prompt, node, NAMES, places.file_stamp)
    path = places.cache_folder() / "bases" / f"{key[:20]}.safetensors"
    return Base({"patched_base": key}, path, None, prediction, notes, clip_skip)


def require_trainable(model: Any) -> None:
    config = model.model.model_config
    if not isinstance(config, TRAINABLE):
        raise ConfigError(
            f"The MODEL wire carries {type(config).__name__}, which cannot be trained.",
            "Use an SD 1.x, SD 2.x or SDXL checkpoint.",
        )


def family_of(model: Any) -> Family | None:
    """Return the family of a model; None if the trainer has none for it."""
    config = model.model.model_config
    return next((family for kind, family in KINDS if isinstance(config, kind)), None)


def usual_side(model: Any) -> int:
    """Return the side in pixels of the images that models of this kind were trained on."""
    family, velocity = family_of(model), prediction_type(model) == "v_prediction"
    return USUAL_SIDE_PX if family is None else family.variant(velocity=velocity).resolution


def prediction_type(model: Any) -> str:
    """Return what the model predicts, as the trainer names it.

    Raises:
        ConfigError: the trainer has no such prediction type.
    """
    sampling = model.get_model_object("model_sampling")
    kinds = comfy.model_sampling
    odd = isinstance(sampling, (kinds.EDM, kinds.X0))
    if odd or not isinstance(sampling, kinds.ModelSamplingDiscrete):
        require_trainable(model)
        raise ConfigError(
            "The MODEL wire predicts neither noise nor velocity in discrete steps.",
            "Remove the ModelSampling node, or use another checkpoint.",
        )
    return "v_prediction" if isinstance(sampling, kinds.V_PREDICTION) else "epsilon"


def export(base: Base, wires: Wires) -> None:
    """Write a patched model for the worker unless it exists; delete all others.

    Raises:
        ConfigError: the folder or the file is a link.
    """
    keep_only(places.runs_folder(), base.path, EXPORTED)
    if base.path.exists():
        return
    sampling = wires.model.get_model_object("model_sampling")
    markers = {"ztsnr": torch.tensor([])} if getattr(sampling, "zsnr", False) else {}
    partial = base.path.with_name(f"partial_{MARK}.safetensors")
    try:
        comfy.sd.save_checkpoint(
            str(partial), wires.model, wires.clip, wires.vae, extra_keys=markers
        )
        settle(partial, base.path)
    finally:  # writing may have failed, as on a full disk
        partial.unlink(missing_ok=True)
