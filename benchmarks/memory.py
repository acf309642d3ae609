"""Predicted and measured peak memory of training steps of real-size models on a CPU.

    python -m benchmarks.memory sd1 sd15-random.safetensors --json memory.json \
        --cases 256,1,off,16 512,2,on,64

A case is resolution, train_batch_size, gradient checkpointing and rank, and if wanted
base_precision. Each case runs two complete
updates of the trainer's own code on random latents, in a separate process. Measured are the memory
that weights and adapter add to the process's resident set, and its largest growth during the
updates (Linux: VmHWM, reset through /proc/self/clear_refs). Predicted is what `plan` reports for
the same settings.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
from pathlib import Path
from typing import Any

import torch

from trainer.config.config import Config
from trainer.worker.base import models
from trainer.worker.base.prompts import PromptTable
from trainer.worker.data.image_sets import Concept, ImageSet, TrainingImage
from trainer.worker.device.device import make_accelerator
from trainer.worker.memory.costs import fake_prompts, sizes
from trainer.worker.memory.need import Machine, training_memory
from trainer.worker.memory.stepdown import StepMemory
from trainer.worker.trainable.choice import make_trained
from trainer.worker.trainable.model import ModelInTraining
from trainer.worker.training.divergence import LossWatch
from trainer.worker.training.optimizers import Optimizer
from trainer.worker.training.update import Updater

from .train_speed import hardware

GIB = 1024**3


def make_config(options: argparse.Namespace, case: str) -> Config:
    resolution, batch, checkpointing, rank, *stored = case.split(",")
    return Config.from_values(
        {
            "base": str(options.checkpoint), "instance_images": ("photos",),
            "instance_prompt": "a photo of sks dog", "output": "dog.safetensors",
            "resolution": resolution, "train_batch_size": batch, "rank": rank,
            "gradient_checkpointing": checkpointing, "mixed_precision": options.mixed_precision,
            "base_precision": stored[0] if stored else "auto",
        }
    )  # fmt: skip


def make_updater(config: Config) -> Updater:
    """Return an updater for the model in training, with random latents and prompts."""
    accelerator = make_accelerator(config.training.mixed_precision)
    dtype = {"bf16": torch.bfloat16, "no": torch.float32}[config.training.mixed_precision]
    base = models.open_base(config.model)
    unet: Any = models.load_stored_unet(base, dtype, accelerator.device)
    trained = make_trained(base.family, unet, [], config.trained)
    trained.initialize(config.training.seed)
    memory = StepMemory(config, unet, accelerator, dtype, lambda event: None)
    side = config.resolution
    latents = torch.randn(4, side // 8, side // 8)
    image = TrainingImage(latents, "", (side, side, 0, 0, side, side))
    model = ModelInTraining(
        base.family,
        accelerator.prepare_model(unet, evaluation_mode=True),
        [],
        PromptTable(fake_prompts(base, unet, 1), [""]),
        models.load_noise_scheduler(base),
        trained,
        accelerator.device,
    )
    optimizer = Optimizer(trained, config, accelerator)
    concepts = [Concept([ImageSet("instance", [image])])]
    return Updater(config, accelerator, model, optimizer, concepts, memory, LossWatch(dtype))


def in_fork(config: Config) -> dict[str, Any]:
    """Measure in a fork of this process, so that no case inherits memory from the one before."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(measure(config)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.wait()
    return json.loads(text)


def measure(config: Config) -> dict[str, Any]:
    gc.collect()
    empty = resident_bytes("VmRSS")
    updater = make_updater(config)
    gc.collect()
    loaded = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for step in (1, 2):
        updater.update(step)
    grown = resident_bytes("VmHWM") - loaded
    machine: Machine = updater.memory.machine
    plan = training_memory(config, machine, updater.memory.passes)
    plan["weights"] -= sizes(config.model, machine.dtype).vae  # not loaded here
    predicted = plan["weights"] + plan["trained"], sum(plan.values())
    return {
        "loaded_gib": in_gib(measured=loaded - empty, predicted=predicted[0]),
        "step_gib": in_gib(measured=grown, predicted=predicted[1] - predicted[0]),
        "total_gib": in_gib(measured=loaded - empty + grown, predicted=predicted[1]),
        "plan_gib": {kind: round(size / GIB, 3) for kind, size in plan.items()},
    }


def in_gib(*, measured: int, predicted: int) -> dict[str, float]:
    error = round(100 * (predicted / measured - 1), 1)
    return {
        "measured": round(measured / GIB, 3),
        "predicted": round(predicted / GIB, 3),
        "error_percent": error,
    }


def resident_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=["sd1", "sd2", "sdxl"])
    parser.add_argument("checkpoint", type=Path, help="as benchmarks.random_checkpoint makes it")
    parser.add_argument("--cases", nargs="+", required=True, metavar="PX,BATCH,ON|OFF,RANK[,BASE]")
    parser.add_argument("--mixed-precision", default="bf16", choices=["bf16", "no"])
    parser.add_argument("--json", type=Path, help="add the results to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads would not live on in a fork; memory does not ask for them
    for case in options.cases:
        result = {"family": options.family, "mixed_precision": options.mixed_precision}
        result |= {"case": case, **in_fork(make_config(options, case))}
        print(json.dumps(result), flush=True)
        if options.json is not None:
            results = json.loads(options.json.read_text()) if options.json.exists() else []
            results.append(result | hardware())
            options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
