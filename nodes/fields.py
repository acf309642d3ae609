"""The settings that each node shows; the remaining settings come over the wires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..trainer.config.config import all_settings
from ..trainer.config.settings import Setting, check_value

__all__ = [
    "CLASS_SETTINGS",
    "FROM_WIRES",
    "PHOTO_ADVANCED",
    "PHOTO_BASIC",
    "SETTINGS",
    "TRAIN_ADVANCED",
    "TRAIN_BASIC",
    "TRAIN_SETTINGS",
    "check_choice",
    "chosen_inputs",
]

FROM_WIRES = frozenset(
    ["base", "vae", "prediction_type", "clip_skip", "instance_images", "class_images", "output"]
)
SETTINGS: dict[str, Setting] = {spec.name: spec for _, spec in all_settings()}
PHOTO_BASIC = ("instance_prompt", "class_prompt", "resolution", "crop_mode")
TRAIN_BASIC = ("max_train_steps", "learning_rate", "rank", "train_text_encoder", "seed")
OF_PHOTOS = frozenset(spec.name for group, spec in all_settings() if group == "instance")
PHOTO_ADVANCED = tuple(
    name for name in SETTINGS if name in OF_PHOTOS - FROM_WIRES - set(PHOTO_BASIC)
)
TRAIN_ADVANCED = tuple(
    name for name in SETTINGS if name not in OF_PHOTOS | FROM_WIRES | {*PHOTO_BASIC, *TRAIN_BASIC}
)
TRAIN_SETTINGS = frozenset([*TRAIN_BASIC, *TRAIN_ADVANCED])
CLASS_SETTINGS = {  # by the names of ComfyUI's own sampler inputs
    "class_prompt": "class_prompt",
    "negative_prompt": "class_negative_prompt",
    "num_class_images": "num_class_images",
    "resolution": "resolution",
    "seed": "class_seed",
    "steps": "class_inference_steps",
    "cfg": "class_guidance_scale",
}


def chosen_inputs(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the inputs with these names: a graph may link others too, which no one has checked."""
    return {name: given[name] for name in names if name in given}


def check_choice(name: str, value: object, options: Sequence[str]) -> None:
    """Refuse a value that is not in a list, since ComfyUI accepts any value.

    Raises:
        ConfigError: the value is not one of `options`.
    """
    check_value(Setting(name, str, None, "", choices=tuple(options)), value)
