"""Seconds per training step and peak memory of real-size models, measured on whole processes.

    python -m benchmarks.train_speed sd1 full 256 --steps 10
    python -m benchmarks.train_speed sdxl full 1024 --steps 10 --json results.json

The checkpoint is random in the published layout and the photos are synthetic; speed and memory
depend on neither. Seconds per step are the median after the first two steps. Peak memory is the
process's largest resident set, or on a GPU torch's peak allocation. The reference is the bare
U-Net with the same LoRA through peft, forward and backward on a fixed input, measured afterwards.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainer.environment.environment import worker_env

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft")


def make_photos(folder: Path, number: int = 4) -> Path:
    """Write photos of colourful noise, 1024 x 1024; returns their folder."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(number):
        small = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(small).resize((1024, 1024)).save(folder / f"{index}.png")
    return folder


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train in a separate process; returns what its events and the bare U-Net say."""
    base = options.checkpoint or folder / "base.safetensors"
    if not base.exists():
        from .random_checkpoint import save_checkpoint

        save_checkpoint(base, options.family, options.size)
    command = [
        sys.executable, "-m", "trainer", "train", "--events", "--base", str(base),
        "--instance-images", str(make_photos(folder / "photos")),
        "--instance-prompt", "a photo of sks dog", "--resolution", str(options.resolution),
        "--max-train-steps", str(options.steps), "--sample-every", "none",
        "--sample-inference-steps", "1", "--save-every", "none",
        "--mixed-precision", options.mixed_precision, "--run", str(folder / "run"),
        "--gradient-checkpointing", options.gradient_checkpointing,
        "--output", str(folder / "lora.safetensors"), *options.settings,
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=worker_env()
    )
    assert process.stdout is not None
    events = [json.loads(line) for line in process.stdout if line.startswith("{")]
    if process.wait():
        raise SystemExit(f"training failed: {events[-1:]}")
    seconds = round(time.monotonic() - began, 1)
    result = summary(events, options) | {"whole_job_sec": seconds}
    bare = [sys.executable, "-m", "benchmarks.bare_step", str(base), str(options.resolution)]
    bare += [options.mixed_precision, str(options.steps)]
    answer = subprocess.run(
        bare, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=worker_env(), check=True
    )
    floor = float(answer.stdout.split()[-1])
    ratio = round(result["seconds_per_step_median"] / floor, 3)
    return result | {"bare_unet_sec": round(floor, 4), "ratio_to_bare_unet": ratio}


def summary(events: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    progress = [event for event in events if event["event"] == "progress"]
    started = next(event for event in events if event["event"] == "started")
    times = [event["time"] for event in progress]
    steps = [after - before for before, after in zip(times[1:], times[2:], strict=False)]
    return {
        "family": options.family,
        "size": options.size,
        "resolution": options.resolution,
        "device": started["device"],
        "dtype": started["dtype"],
        "gradient_checkpointing": options.gradient_checkpointing,
        "trainable_parameters": started["trainable_parameters"],
        "seconds_per_step_median": round(statistics.median(steps), 4),
        "seconds_per_step_min_max": [round(min(steps), 4), round(max(steps), 4)],
        "peak_memory_gib": round(progress[-1]["peak_memory_gib"], 2),
        "num_steps": len(progress),
        "first_step_after_sec": round(times[0] - started["time"], 1),
    }


def hardware() -> dict[str, Any]:
    return {
        "processor": processor(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def command_line(options: argparse.Namespace) -> str:
    """Return the command that repeats the measurement."""
    flags = f"--mixed-precision {options.mixed_precision} --steps {options.steps}"
    flags += f" --gradient-checkpointing {options.gradient_checkpointing}"
    settings = f" -- {' '.join(options.settings)}" if options.settings else ""
    model = f"{options.family} {options.size} {options.resolution}"
    return f"python -m benchmarks.train_speed {model} {flags}{settings}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=["sd1", "sd2", "sdxl"])
    parser.add_argument("size", choices=["full", "host", "tiny"])
    parser.add_argument("resolution", type=int)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--checkpoint", type=Path, help="an existing checkpoint instead")
    parser.add_argument("--mixed-precision", default="bf16")
    parser.add_argument("--gradient-checkpointing", choices=["on", "off"], default="off")
    parser.add_argument("--json", type=Path, help="add the result to this file")
    parser.add_argument("settings", nargs="*", help="more flags of train, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = {"command": command_line(options)}
        result |= measure(options, Path(folder)) | hardware()
    print(json.dumps(result, indent=2))
    if options.json is not None:
        results = json.loads(options.json.read_text()) if options.json.exists() else []
        options.json.write_text(json.dumps([*results, result], indent=2) + "\n")


if __name__ == "__main__":
    main()
