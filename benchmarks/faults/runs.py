"""Tiny real runs that are broken on purpose: started in processes of their own, checked, compared.

A run has class images, latents, samples, a trained text encoder and a checkpoint every second step.
To make a hundred starts affordable the worker's process is forked from one that has imported torch
but computed nothing; it then does what `python -m trainer.worker` does.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks.random_checkpoint import save_checkpoint
from trainer.config.config import Config
from trainer.environment.environment import worker_env
from trainer.runs.events import Event, Finished, from_line, read_events
from trainer.runs.orders import Train, to_line
from trainer.runs.run import Run
from trainer.worker import __main__ as worker_main
from trainer.worker.training import loop as _imported_before_the_fork  # noqa: F401
from trainer.worker.training.checkpoint import checkpoints, is_whole

PARTS = ("trained", "optimizer")  # of a checkpoint
STEPS = 12
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft", "safetensors")


def make_inputs(folder: Path) -> None:
    """A tiny checkpoint and three photos."""
    (folder / "photos").mkdir(parents=True)
    save_checkpoint(folder / "base.safetensors", "sd1", "tiny")
    rng = np.random.default_rng(0)
    for index in range(3):
        pixels = rng.integers(0, 255, (80, 90 + index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{index}.png")


@dataclass(frozen=True)
class Place:
    """Where one run with its cache and output is; `inputs` may be shared."""

    inputs: Path
    root: Path

    @property
    def run(self) -> Run:
        return Run(self.root / "runs" / "dog")

    def config(self, **values: object) -> Config:
        defaults: dict[str, object] = {
            "base": str(self.inputs / "base.safetensors"),
            "instance_images": (str(self.inputs / "photos"),),
            "instance_prompt": "a photo of sks dog",
            "class_prompt": "a photo of a dog",
            "num_class_images": 4,
            "class_inference_steps": 2,
            "class_batch_size": 1,
            "resolution": 64,
            "rank": 4,
            "train_text_encoder": True,
            "max_train_steps": STEPS,
            "learning_rate": 1e-3,
            "mixed_precision": "no",
            "sample_every": 4,
            "sample_inference_steps": 2,
            "gradient_checkpointing": "off",
            "save_every": 2,
            "checkpoints_total_limit": 2,
            "output": str(self.root / "loras" / "dog.safetensors"),
        }
        return Config.from_values(defaults | values)

    def job(self, **values: object) -> bytes:
        order = Train(str(self.run.folder), self.config(**values).to_dict(), resume=True)
        return to_line(order).encode() + b"\n"


class Process:
    """A worker in a process of its own, and the events that it tells."""

    def __init__(self, job: bytes, log: Path, *, forked: bool) -> None:
        read_end, self.stdin = os.pipe()
        out, write_end = os.pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            ends = (read_end, write_end, errors.fileno())
            self.pid = fork_worker(ends, (self.stdin, out)) if forked else spawn_worker(ends)
        os.close(read_end)
        os.close(write_end)
        os.write(self.stdin, job)
        self.out = os.fdopen(out, encoding="utf-8")

    def events(self) -> Iterator[Event]:
        """Events up to the end of the process; a kill may tear the last."""
        for line in self.out:
            with suppress(ValueError):
                yield from_line(line)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Wait for the end, and close the pipes; gives the exit code."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.stdin)
        self.out.close()
        return os.waitstatus_to_exitcode(status)


def fork_worker(ends: tuple[int, int, int], ours: tuple[int, int]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for number, end in enumerate(ends):
            os.dup2(end, number)
        for end in ours:
            os.close(end)
        for stream in ("stdin", "stdout", "stderr"):  # fresh ones, with empty buffers
            mode = "r" if stream == "stdin" else "w"
            number = ("stdin", "stdout", "stderr").index(stream)
            setattr(sys, stream, os.fdopen(number, mode, encoding="utf-8", closefd=False))
        code = worker_main.main()
    finally:
        os._exit(code)


def spawn_worker(ends: tuple[int, int, int]) -> int:
    command = [sys.executable, "-u", "-m", "trainer.worker"]
    env = worker_env() | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    dup = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends)]
    return os.posix_spawn(sys.executable, command, env, file_actions=dup)


def unbroken(place: Place, **values: object) -> dict[str, torch.Tensor]:
    """Train without a fault; gives the LoRA's weights."""
    process = Process(place.job(**values), place.root / "log.txt", forked=True)
    last = list(process.events())[-1]
    assert process.wait() == 0 and isinstance(last, Finished), last
    return load_file(last.result_path)


def is_identical(lora: str | Path, expected: dict[str, torch.Tensor]) -> bool:
    found = load_file(lora)
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], value) for name, value in expected.items()
    )


def damage(place: Place) -> list[str]:
    """What is not whole of all files of a run, its cache and its output."""
    found: list[str] = []
    for path in sorted(place.root.rglob("*")):
        if path.is_file() and ".partial" not in str(path):
            try:
                read_whole(path)
            except Exception as error:  # whatever it is, it is what the study looks for
                found.append(f"{path.relative_to(place.root)}: {type(error).__name__}: {error}")
    whole = [path for path in checkpoints(place.run.checkpoints) if not is_whole(path, PARTS)]
    return found + [f"{path.name} is not whole" for path in whole]


def read_whole(path: Path) -> None:
    if path.suffix == ".safetensors":
        load_file(path)
    elif path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.name == "events.jsonl":
        check_events(path)


def check_events(path: Path) -> None:
    """Every line is an event, but for the ends of lines that a kill has torn."""
    lines = path.read_text("utf-8").split("\n")
    torn = sum(1 for line in lines if line and not is_event(line))
    assert len(list(read_events(path))) + torn == len([line for line in lines if line])
    assert not any(line.count('{"event":') > 1 for line in lines), "two events in one line"


def is_event(line: str) -> bool:
    try:
        from_line(line)
    except ValueError:
        return False
    return True


def leftovers(place: Place) -> list[str]:
    """Files half written, which the next start has to remove."""
    return [str(path.relative_to(place.root)) for path in place.root.rglob("*.partial")]


def fresh(place: Place) -> Place:
    shutil.rmtree(place.root, ignore_errors=True)
    place.root.mkdir(parents=True)
    return place


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "command": f"python -m {__package__}.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}",
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
