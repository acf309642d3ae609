"""The published structures that `plan` can use without a checkpoint."""

from __future__ import annotations

import pytest
import torch

from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.model_files.families import FAMILIES, FamilyName
from trainer.model_files.identify import require_base
from trainer.model_files.published import outline, published_tensors
from trainer.worker.base import models

from ..helpers.published import published


@pytest.mark.parametrize("family", FAMILIES)
def test_the_structure_is_that_of_diffusers_own_models(family: FamilyName) -> None:
    theirs = dict(published(family))
    if not FAMILIES[family].penultimate:  # whose prompts no projection changes
        theirs.pop("cond_stage_model.model.text_projection", None)
    assert published_tensors(family) == theirs


@pytest.mark.parametrize("family", FAMILIES)
def test_an_outline_is_a_base_without_weights(family: FamilyName) -> None:
    with outline(family) as file:
        assert require_base(file).family == family
        assert file.stat().st_size < 2_000_000
        base = models.open_base(ModelConfig(str(file), prediction_type="epsilon"))
        with torch.device("meta"):
            assert sum(p.numel() for p in models.load_unet(base, torch.half).parameters()) > 8e8
        with pytest.raises(ConfigError, match="has no weights"):
            models.load_unet(base, torch.half)
    assert not file.exists()
