"""Seconds of the bare U-Net's forward and backward pass with a peft LoRA: the least a step takes.

python -m benchmarks.bare_step CHECKPOINT RESOLUTION PRECISION STEPS
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model

from trainer.config.model import ModelConfig
from trainer.worker.base import models
from trainer.worker.device.device import DTYPES, best_device
from trainer.worker.drawing.sampler import precision
from trainer.worker.trainable.lora import UNET_TARGETS

POOLED_WIDTH = 1280


def main() -> None:
    checkpoint, resolution, mixed_precision, steps = sys.argv[1:]
    device, dtype = torch.device(best_device()), DTYPES[mixed_precision]
    base = models.open_base(ModelConfig(checkpoint))
    unet: Any = models.load_unet(base, dtype)
    inject_adapter_in_model(LoraConfig(r=16, lora_alpha=16, target_modules=UNET_TARGETS), unet)
    unet.to(device)
    side = int(resolution) // 8
    latents = torch.randn((1, 4, side, side), device=device)
    embeds = torch.randn((1, 77, unet.config.cross_attention_dim), device=device)
    conditions = {
        "text_embeds": torch.randn((1, POOLED_WIDTH), device=device),
        "time_ids": torch.full((1, 6), int(resolution), device=device),
    }
    timestep = torch.tensor([500], device=device)
    seconds: list[float] = []
    for _ in range(int(steps)):
        began = time.perf_counter()
        with precision(device, dtype):
            output = unet(latents, timestep, embeds, added_cond_kwargs=conditions).sample
        output.float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    print(statistics.median(seconds[2:]))


if __name__ == "__main__":
    main()
