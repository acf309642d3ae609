"""Large images are decoded whole where memory allows, and class images in batches that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainer.config.model import ModelConfig
from trainer.worker.base import models
from trainer.worker.drawing import sampler
from trainer.worker.drawing.class_images import MAX_BATCH, NUMBERS_PER_PIXEL, choose_batch_size
from trainer.worker.drawing.sampler import DECODED_BYTES_PER_PIXEL, Drawer, decode, to_picture
from trainer.worker.memory.costs import NumberFormat, sampling_cost

CPU = torch.device("cpu")
GIB = 1 << 30


@pytest.fixture
def drawer(tiny_checkpoint: Any) -> Drawer:
    vae = models.load_vae(models.open_base(ModelConfig(str(tiny_checkpoint("sd1")))))
    nothing: Any = None
    return Drawer(nothing, vae, nothing, CPU, torch.float32)


@torch.no_grad()
def test_tiles_are_used_only_where_memory_is_short(
    drawer: Drawer, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = torch.randn(1, 4, 72, 96, generator=torch.Generator().manual_seed(0))
    vae: Any = drawer.vae
    whole = vae.decode(latents / vae.config.scaling_factor).sample[0]
    found = {}
    for share in (1, 3):
        free = share * DECODED_BYTES_PER_PIXEL * 576 * 768
        monkeypatch.setattr(sampler, "free_bytes", lambda _, free=free: free)
        (found[share],) = decode(drawer, latents)
        assert not vae.use_tiling
    expected = np.asarray(to_picture(whole))
    assert (np.asarray(found[3]) == expected).all()
    assert not (np.asarray(found[1]) == expected).all()


def test_class_images_fill_half_of_what_is_free(tiny_checkpoint: Any) -> None:
    choose = choose_batch_size
    assert choose(512, "cpu", torch.float32, 100 * GIB) == 1
    assert choose(512, "cuda", torch.bfloat16, 0) == 1
    assert choose(512, "cuda", torch.bfloat16, 100 * GIB) == MAX_BATCH
    assert choose(512, "cuda", torch.float32, 4 * GIB) == 5
    assert choose(512, "cuda", torch.float16, 4 * GIB) == 11
    model = ModelConfig(str(tiny_checkpoint("sd1")))
    traced = sampling_cost(model, NumberFormat(torch.bfloat16, "cuda"), 1, 512).peak_bytes
    assert traced < 2 * NUMBERS_PER_PIXEL * 512**2
