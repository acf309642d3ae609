"""The rows of the model families agree with each other and with the presets."""

from __future__ import annotations

import pytest

from trainer.config.presets import PRESETS
from trainer.model_files.families import (
    FAMILIES,
    Family,
    family_of_text_width,
    family_of_version,
)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_suggested_preset_leaves_the_resolution_to_the_base(family: Family) -> None:
    assert "resolution" not in PRESETS[family.preset].values


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_found_by_what_its_files_say(family: Family) -> None:
    assert family_of_text_width(family.text_width) == family.name
    assert family_of_version(family.version) == family.name


def test_only_sd2_has_a_variant_of_its_own_for_velocity() -> None:
    resolutions = {
        name: [family.variant(velocity=velocity).resolution for velocity in (False, True)]
        for name, family in FAMILIES.items()
    }
    assert resolutions == {"sd1": [512, 512], "sd2": [512, 768], "sdxl": [1024, 1024]}
    assert FAMILIES["sd2"].noise.architecture == "stable-diffusion-v2-512"
    assert FAMILIES["sd2"].variant(velocity=True).architecture == "stable-diffusion-v2-768-v"


def test_prompts_come_from_the_layer_that_comfyui_uses() -> None:
    layers = {name: family.clip_layer for name, family in FAMILIES.items()}
    assert layers == {"sd1": -1, "sd2": -2, "sdxl": -2}
