"""Every preset for two steps on models of the published size, with plan and measurement.

    python -m benchmarks.random_checkpoint sd1 full sd15.safetensors
    python -m benchmarks.random_checkpoint sd2 full sd2.safetensors
    python -m benchmarks.random_checkpoint sdxl full sdxl.safetensors
    python -m benchmarks.presets --sd1 sd15.safetensors --sd2 sd2.safetensors \
        --sdxl sdxl.safetensors --work DIR --json benchmarks/results/presets.json

Each preset is set up by the trainer itself at the resolution that follows from its base, with five
made-up photos and, where its help asks for a class prompt, as many class images; then two steps
run. Every preset has a process of its own. Measured are the seconds of the second step and the
process's largest resident set (Linux: VmHWM) during both, without the program itself; predicted is
what `plan` says for the same settings on a CPU. fp16 is replaced by bf16, which CPUs have.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.config.config import Config
from trainer.config.presets import PRESETS, preset_values
from trainer.files.atomic import write_atomic
from trainer.runs.control import Control
from trainer.runs.events import Event, Failed, Warning
from trainer.runs.run import Run

from .memory import GIB, in_gib, resident_bytes
from .train_speed import hardware

NUM_PHOTOS = 5
WITH_CLASS_PROMPT = ("paper", "face", "pet", "object")


def base_of(preset: str) -> str:
    """Return the kind of base that a preset is measured on: the low-memory ones on the largest."""
    if preset.startswith(("sdxl", "low-vram")):
        return "sdxl"
    return "sd2" if preset.startswith("sd2") else "sd1"


def make_photos(folder: Path) -> str:
    """Make photos of smooth noise of 1200 x 1100 px; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.PCG64(0))
    for number in range(NUM_PHOTOS):
        small = Image.fromarray(rng.integers(0, 256, (11, 12, 3), dtype=np.uint8))
        small.resize((1200, 1100), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return str(folder)


def make_config(preset: str, base: Path, work: Path) -> Config:
    values = preset_values(preset)
    photos = make_photos(work / "photos")
    values |= {
        "base": str(base), "instance_images": [photos], "instance_prompt": "a photo of sks dog",
        "max_train_steps": 2, "output": str(work / "result.safetensors"),
    }  # fmt: skip
    if values.get("mixed_precision", "bf16") == "fp16":
        values["mixed_precision"] = "bf16"
    if preset in WITH_CLASS_PROMPT:
        values |= {"class_prompt": "a photo of a dog", "class_images": photos}
        values |= {"num_class_images": NUM_PHOTOS}
    return Config.from_values({"mixed_precision": "bf16"} | values)


def run_preset(preset: str, base: Path, work: Path) -> dict[str, Any]:
    """Train two steps; returns what was measured and what was predicted."""
    from trainer.worker.memory.need import training_memory
    from trainer.worker.training.job import Job
    from trainer.worker.training.setup import set_up

    warnings: list[str] = []

    def report(event: Event) -> None:
        assert not isinstance(event, Failed), event
        if isinstance(event, Warning):
            warnings.append(event.message)

    program = resident_bytes("VmRSS")
    config = make_config(preset, base, work)
    began = time.perf_counter()
    training = set_up(Job(config, Run(work / "runs" / preset), False, report, Control()))
    seconds = [time.perf_counter() - began]
    loaded = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    for step in (1, 2):
        began = time.perf_counter()
        training.update(step)
        seconds.append(time.perf_counter() - began)
    peak = resident_bytes("VmHWM") - program
    memory = training.updater.memory
    plan = training_memory(training.config, memory.machine, memory.passes)
    return {
        "preset": preset,
        "base": base_of(preset),
        "resolution": training.config.resolution,
        "gradient_checkpointing": memory.passes.checkpointing,
        "images_per_pass": memory.passes.num_images,
        "set_up_sec": round(seconds[0], 1),
        "first_step_sec": round(seconds[1], 2),
        "step_sec": round(seconds[2], 2),
        "loaded_gib": round((loaded - program) / GIB, 3),
        "total_gib": in_gib(measured=peak, predicted=sum(plan.values())),
        "plan_gib": {kind: round(size / GIB, 3) for kind, size in plan.items()},
        "warnings": warnings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for kind in ("sd1", "sd2", "sdxl"):
        parser.add_argument(f"--{kind}", type=Path, help="full-size random checkpoint")
    parser.add_argument("--work", type=Path, required=True, help="folder for photos and runs")
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--json", type=Path, required=True, help="results by preset, added to")
    options = parser.parse_args()
    found = json.loads(options.json.read_text()) if options.json.exists() else {}
    for preset in options.presets:
        base = getattr(options, base_of(preset))
        if base is None:
            print(f"{preset}: no --{base_of(preset)}", flush=True)
            continue
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # no memory of the one before
            row = pool.apply(run_preset, (preset, base, options.work))
        print(json.dumps(row), flush=True)
        found[preset] = row | hardware()
        write_atomic(options.json, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
