"""Size and speed of a frozen U-Net that is stored in fewer bits, all formats in one paired run.

    python -m benchmarks.stored_base sd15-random.safetensors --resolution 256 --steps 4 \
        --json benchmarks/results/stored_base.json

Each round does one forward and backward pass with a LoRA of rank 16 in every format, one after the
other, so that a machine whose speed drifts slows all of them. The first round is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from trainer.config.model import ModelConfig
from trainer.config.settings import settings_of
from trainer.config.trained import TrainedConfig
from trainer.worker.base import models
from trainer.worker.device.device import DTYPES, best_device
from trainer.worker.drawing.sampler import precision
from trainer.worker.memory.costs import fake_prompts
from trainer.worker.trainable.choice import make_trained

from .train_speed import hardware

PRECISIONS = next(s for s in settings_of(ModelConfig) if s.name == "base_precision").choices


def load(options: argparse.Namespace, stored: Any) -> tuple[Any, dict[str, Any]]:
    """Return a U-Net with a LoRA, and what loading it showed."""
    device, dtype = torch.device(best_device()), DTYPES[options.mixed_precision]
    base = models.open_base(ModelConfig(str(options.checkpoint), base_precision=stored))
    began = time.perf_counter()
    unet = models.load_stored_unet(base, dtype, device)
    seconds = time.perf_counter() - began
    size = sum(parameter.nbytes for parameter in unet.parameters())
    trained = make_trained(base.family, unet, [], TrainedConfig())
    trained.initialize(0)
    trained.to(device)
    return (base, unet), {
        "base_precision": stored,
        "unet_gib": round(size / 2**30, 3),
        "load_sec": round(seconds, 1),
    }


def step(model: tuple[Any, Any], options: argparse.Namespace) -> float:
    """Return the seconds of one forward and backward pass."""
    base, unet = model
    device, dtype = torch.device(best_device()), DTYPES[options.mixed_precision]
    side = options.resolution // 8
    prompts = fake_prompts(base, unet, 1).to(device)
    extra = None
    if prompts.pooled is not None:
        extra = {"text_embeds": prompts.pooled, "time_ids": torch.zeros((1, 6), device=device)}
    latents = torch.ones((1, 4, side, side), device=device)
    began = time.perf_counter()
    with precision(device, dtype):
        output = unet(latents, torch.tensor([500], device=device), prompts.embeds,
                      added_cond_kwargs=extra).sample  # fmt: skip
    output.float().square().mean().backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS,
                        default=["auto", "fp8", "int8", "nf4"])  # fmt: skip
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--mixed-precision", default="bf16", choices=list(DTYPES))
    parser.add_argument("--json", type=Path, help="add the results to this file")
    options = parser.parse_args()
    loaded = [load(options, stored) for stored in options.precisions]
    rounds = [[step(model, options) for model, _ in loaded] for _ in range(options.steps + 1)]
    for index, (_, found) in enumerate(loaded):
        seconds = [one[index] for one in rounds[1:]]
        ratios = [one[index] / one[0] for one in rounds[1:]]
        found |= {
            "checkpoint": options.checkpoint.name,
            "resolution": options.resolution,
            "mixed_precision": options.mixed_precision,
            "rounds": options.steps,
            "step_sec": round(statistics.median(seconds), 3),
            f"ratio_to_{options.precisions[0]}": round(statistics.median(ratios), 2),
        }
        print(json.dumps(found), flush=True)
    if options.json is not None:
        results = json.loads(options.json.read_text()) if options.json.exists() else []
        results += [found | hardware() for _, found in loaded]
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
