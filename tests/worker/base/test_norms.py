"""Norms in half precision: autocast leaves them alone, and gradients stay as exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainer.config.model import ModelConfig
from trainer.config.trained import TrainedConfig
from trainer.worker.base import models
from trainer.worker.base.norms import keep_format_in_norms
from trainer.worker.drawing.sampler import precision
from trainer.worker.memory.meter import norms_in_float32
from trainer.worker.trainable.choice import make_trained

CPU = torch.device("cpu")


@pytest.mark.parametrize("given", [torch.bfloat16, torch.float32])
def test_autocast_is_off_in_norms_of_half_precision(given: torch.dtype) -> None:
    model = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.GroupNorm(2, 8)).to(torch.bfloat16)
    seen: list[tuple[bool, torch.dtype]] = []
    for norm in (model[0], model[2]):
        forward = norm.forward

        def watched(inputs: torch.Tensor, forward=forward) -> torch.Tensor:
            seen.append((torch.is_autocast_enabled("cpu"), inputs.dtype))
            return forward(inputs)

        norm.forward = watched
    keep_format_in_norms(model)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(torch.randn(4, 8, dtype=given))
        assert torch.is_autocast_enabled("cpu")
    assert seen == [(False, torch.bfloat16)] * 2
    assert output.dtype == torch.bfloat16


def test_norms_of_whole_models_in_training_stay_as_they_are() -> None:
    norm = nn.LayerNorm(8)
    keep_format_in_norms(norm)
    assert "forward" not in vars(norm)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_gradients_are_as_exact_as_with_norms_in_float32(tiny_checkpoint, family: str) -> None:
    base = models.open_base(ModelConfig(str(tiny_checkpoint(family))))
    torch.manual_seed(0)
    latents = torch.randn(2, 4, 16, 16)
    text = torch.randn(2, 77, 2048 if family == "sdxl" else 768)

    def gradients(dtype: torch.dtype, prepare) -> torch.Tensor:
        unet = models.load_stored_unet(base, dtype, CPU)
        trained = make_trained(base.family, unet, [], TrainedConfig(rank=4))
        trained.initialize(0)
        for parameter in trained.parameters():  # or half of the gradients would be zero
            torch.manual_seed(parameter.numel())
            parameter.data = torch.randn(parameter.shape) * 0.05
        prepare(unet)
        extra = {}
        if family == "sdxl":
            ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
            extra["added_cond_kwargs"] = {"text_embeds": torch.ones(2, 1280), "time_ids": ids}
        with precision(CPU, dtype):
            output = unet(latents, torch.tensor([10, 700]), text, **extra).sample
        output.float().square().mean().backward()
        return torch.cat([parameter.grad.flatten() for parameter in trained.parameters()])

    exact = gradients(torch.float32, lambda unet: None)
    own, wide = (
        (gradients(torch.bfloat16, prepare) - exact).norm() / exact.norm()
        for prepare in (keep_format_in_norms, norms_in_float32)
    )
    assert own < 0.05
    assert own < 1.5 * wide
