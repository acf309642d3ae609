"""Fills the disk of a run at random moments, frees it, resumes, and compares with the unbroken run.

    python -m benchmarks.faults.disk --count 20 --seed 0 --json benchmarks/results/faults.json

Run, cache and output are on a small file system in memory, which only root can mount. At a moment
drawn by chance a file is written that leaves room for nothing, for little, or for one checkpoint.
The run then has to fail with code `disk_full` (or to be refused before the first step), with every
file whole; where it still fits, it finishes.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from trainer.runs.events import Event, Failed, Finished

from .kill import keep, stage_of
from .runs import (
    Place,
    Process,
    damage,
    fresh,
    is_identical,
    leftovers,
    machine,
    make_inputs,
    unbroken,
)

DISK_BYTES = 48 << 20
ROOMS = (0, 1 << 16, 3 << 20)  # for nothing, for events and pictures, for one more checkpoint
STAGES = ("loading", "caching", "class_images", "training", "saving", "sampling", "end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="results are put under `disk` in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk") as disk:
        result = study(Path(folder) / "inputs", disk, options.count, options.seed)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        keep(options.json, "disk", result)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own; ends the study with the reason where it cannot be had."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"Skipped, for no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def study(inputs: Path, disk: Path, count: int, seed: int) -> dict[str, Any]:
    began = time.monotonic()
    torch.set_num_threads(1)
    make_inputs(inputs)
    place, rng = Place(inputs, disk / "work"), random.Random(seed)
    expected = unbroken(fresh(place))
    fills: list[dict[str, Any]] = []
    while sum(fill["stage"] != "not reached" for fill in fills) < count:
        fills.append(fill_and_resume(fresh(place), expected, rng))
        print(len(fills), fills[-1], flush=True)
    return {
        **machine(),
        "seed": seed,
        "fills": sum(fill["stage"] != "not reached" for fill in fills),
        "runs": len(fills),
        "fills_by_stage": dict(Counter(fill["stage"] for fill in fills)),
        "ends": dict(Counter(fill["end"] for fill in fills)),
        "damaged_files": [text for fill in fills for text in fill["damage"]],
        "leftovers": [text for fill in fills for text in fill["leftovers"]],
        "events_without_a_last_one": sum(not fill["has_last"] for fill in fills),
        "runs_identical_to_the_unbroken": sum(fill["identical"] for fill in fills),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def fill_and_resume(
    place: Place, expected: dict[str, torch.Tensor], rng: random.Random
) -> dict[str, Any]:
    """Fill the disk during a run, see how it ends, free the disk, and finish the run."""
    filler = place.root.parent / "filler"
    process = Process(place.job(), place.root.parent.parent / "log.txt", forked=True)
    wanted, left = rng.choice(STAGES), rng.randint(1, 4)
    stage, filled_at, last = "starting", "not reached", None
    for event in process.events():
        last, stage = event, stage_of(event) or stage
        left -= stage == wanted
        if left == 0 and filled_at == "not reached":
            time.sleep(rng.uniform(0, 0.1))
            fill(filler, rng.randint(0, rng.choice(ROOMS)))
            filled_at = stage
    process.wait()
    found = {
        "stage": filled_at,
        "end": end_of(last),
        "damage": damage(place),
        "leftovers": leftovers(place),
        "has_last": isinstance(last, (Failed, Finished)),
    }
    filler.unlink(missing_ok=True)
    lora = last.result_path if isinstance(last, Finished) else finish(place)
    return found | {"identical": lora is not None and is_identical(lora, expected)}


def finish(place: Place) -> str | None:
    """Resume with room on the disk; gives the LoRA."""
    process = Process(place.job(), place.root.parent.parent / "log.txt", forked=True)
    last = list(process.events())[-1]
    process.wait()
    return last.result_path if isinstance(last, Finished) else None


def fill(filler: Path, room: int) -> None:
    """Take all space but for `room` bytes."""
    with filler.open("ab", buffering=0) as file:
        try:
            while (free := shutil.disk_usage(filler.parent).free - room) > 0:
                file.write(bytes(min(free, 1 << 20)))
        except OSError as error:
            assert error.errno == errno.ENOSPC
            os.truncate(filler, max(0, filler.stat().st_size - room))


def end_of(last: Event | None) -> str:
    return f"failed: {last.code}" if isinstance(last, Failed) else type(last).__name__.lower()


if __name__ == "__main__":
    main()
