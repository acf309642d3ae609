"""Which settings each node shows; all others come over the wires."""

from __future__ import annotations

from collections.abc import Sequence

from ..trainer.config.concept import InstanceConfig, PriorConfig
from ..trainer.config.config import all_settings
from ..trainer.config.optimization import TrainingConfig
from ..trainer.config.result import ResultConfig
from ..trainer.config.sampling import SampleConfig
from ..trainer.config.settings import Setting, check_value, settings_of
from ..trainer.config.trained import LoraConfig

FROM_WIRES = frozenset(
    ["base", "vae", "prediction_type", "instance_images", "class_images", "output"]
)
LATER = ("prior_target",)  # came after graphs were saved, which know values by their place alone
SETTINGS: dict[str, Setting] = {spec.name: spec for _, spec in all_settings()}


def shown(groups: list[type], first: tuple[str, ...], elsewhere: frozenset[str]) -> list[str]:
    """Names of a node's settings: `first`, the plain ones, the advanced ones, then `LATER`."""
    found = [spec for group in groups for spec in settings_of(group)]
    plain = [spec.name for spec in found if not spec.advanced]
    advanced = [spec.name for spec in found if spec.advanced]
    names = dict.fromkeys([*first, *plain, *advanced])
    return sorted((name for name in names if name not in elsewhere), key=LATER.__contains__)


def check_choice(name: str, value: object, options: Sequence[str]) -> None:
    """Refuse what is none of a list's entries; ComfyUI itself takes any value.

    Raises:
        ConfigError: names the entries.
    """
    check_value(Setting(name, str, None, "", choices=tuple(options)), value)


PHOTO_SETTINGS = shown([InstanceConfig], ("instance_prompt", "class_prompt"), FROM_WIRES)
TRAIN_SETTINGS = shown(
    [TrainingConfig, LoraConfig, PriorConfig, SampleConfig, ResultConfig],
    ("max_train_steps", "learning_rate", "rank", "seed"),
    FROM_WIRES | {"class_prompt"},
)
CLASS_SETTINGS = {  # under the names that ComfyUI's own samplers use
    "class_prompt": "class_prompt",
    "negative_prompt": "class_negative_prompt",
    "num_class_images": "num_class_images",
    "resolution": "resolution",
    "seed": "class_seed",
    "steps": "class_inference_steps",
    "cfg": "class_guidance_scale",
}
