"""Where the tab shows each setting; the remaining settings come from the host."""

from __future__ import annotations

import re

from ..trainer.config.config import GROUPS, all_settings
from ..trainer.config.fields import to_field
from ..trainer.config.presets import PRESETS
from ..trainer.config.settings import Setting, settings_of
from ..trainer.model_files.families import FAMILIES
from ..trainer.prompts.lists import PROMPT_LISTS

__all__ = [
    "ADVANCED",
    "ASIDE",
    "CLASS_IMAGES",
    "EXAMPLES",
    "FAMILY_PRESETS",
    "FILE_TYPES",
    "INPUTS",
    "LEARNING",
    "OWN_PROMPTS",
    "PATHS",
    "PHOTOS",
    "PRESET_FIELDS",
    "SETTINGS",
    "SHOWN",
    "TITLES",
    "WORDS",
    "label",
    "labelled",
    "listed_prompts",
    "preset_fields",
]

# From the host's own lists and folders; and what only matters with several subjects.
NOT_SHOWN = frozenset(["base", "instance_images", "output", "concept_weight"])
PATHS = ("vae", "class_images")  # settings that name files of this machine
FILE_TYPES = ["image", ".heic", ".heif", ".hif", ".avif", ".txt", ".caption", ".cap"]
WORDS = ("instance_prompt", "class_prompt")
PHOTOS = ("crop_mode", "resolution")
CLASS_IMAGES = ("num_class_images", "prior_loss_weight")
LEARNING = ("max_train_steps", "learning_rate", "rank", "seed", "train_text_encoder")
BASIC = (*WORDS, *PHOTOS, *CLASS_IMAGES, *LEARNING)
FIRST = ("uploads", "folder", "base", "name")  # inputs that precede the settings
ASIDE = ("preset", "word", "noun")  # fields that only help to fill in the others
SETTINGS: dict[str, Setting] = {spec.name: spec for _, spec in all_settings()}
ADVANCED = {
    name: [s.name for s in settings_of(group) if s.name not in NOT_SHOWN | set(BASIC)]
    for name, group in GROUPS.items()
}
SHOWN = (*BASIC, *(name for names in ADVANCED.values() for name in names))
INPUTS = (*FIRST, *SHOWN)
TITLES = {
    "model": "Model",
    "instance": "Photos",
    "prior": "Class images",
    "trained": "What is trained",
    "training": "Training",
    "samples": "Samples during training",
    "result": "Saving",
}
LABELS = {
    "base": "Base checkpoint",
    "instance_images": "Photos",
    "output": "Name of the result",
    "instance_prompt": "Instance prompt (with trigger word)",
    "num_class_images": "Number of class images",
    "max_train_steps": "Steps",
    "rank": "LoRA rank",
    "vae": "VAE file",
    "class_images": "Class image folder",
    "num_crops": "Crops per photo",
    "sample_every": "Steps between samples",
    "save_every": "Steps between checkpoints",
    "checkpoints_total_limit": "Checkpoints to keep",
    "train_text_encoder": "Also train the text encoder",
    "snr_gamma": "Min-SNR gamma",
}
EXAMPLES = {"instance_prompt": "a photo of sks dog", "class_prompt": "a photo of a dog"}
PRESET_FIELDS = tuple(dict.fromkeys(name for preset in PRESETS.values() for name in preset.values))
OWN_PROMPTS = "own prompts"
FAMILY_PRESETS = {name: family.preset for name, family in FAMILIES.items()}


# The name of a setting in a message: its first word, with "_" in it, or as a flag; not in a path.
MENTION = re.compile(
    r"""^[a-z]+(?=[ ](?:is|has|['"]))
    |(?<![\w./\\'"<-])(?:--[a-z0-9]+(?:-[a-z0-9]+)*|[a-z0-9]+(?:_[a-z0-9]+)+)
    (?![\w/\\'">=-]|\.\w)""",
    re.VERBOSE,
)


def label(name: str) -> str:
    """Return the label of a setting's field."""
    words = name.removeprefix("class_").removeprefix("sample_") if name not in WORDS else name
    return LABELS.get(name, words.replace("_", " ").capitalize().replace("Lr ", "LR "))


def labelled(text: str) -> str:
    """Return a message with the labels of the tab's fields in place of the names of settings."""

    def in_words(found: re.Match[str]) -> str:
        name = found[0].removeprefix("--").replace("-", "_")
        return f"“{label(name)}”" if name in SETTINGS else found[0]

    return MENTION.sub(in_words, text)


def listed_prompts() -> dict[str, str]:
    """Return the prompts of every list for trying out, as their field shows them."""
    spec = SETTINGS["sample_prompts"]
    return {name: str(to_field(spec, prompts)) for name, prompts in PROMPT_LISTS.items()}


def preset_fields(preset: str) -> list[object]:
    """Return a preset's value for every field that some preset sets."""
    values = PRESETS[preset].values
    specs = (SETTINGS[name] for name in PRESET_FIELDS)
    return [to_field(spec, values.get(spec.name, spec.default)) for spec in specs]
