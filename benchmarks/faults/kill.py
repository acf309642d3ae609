"""Kills the worker at random moments, resumes, and compares with the run that nothing broke.

    python -m benchmarks.faults.kill --count 100 --seed 0 --json benchmarks/results/faults.json

Moments are spread over the stages: a stage is drawn, then how many of its events are waited for,
and then a delay. After every kill each file in run, cache and output must be whole; at the end the
LoRA must be, bit for bit, that of the unbroken run. One start in ten is a process of its own from
`python -m trainer.worker`, killed while it loads; the others are forked (see runs.py).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from trainer.runs.events import Checkpoint, Event, Finished, Progress, Status

from .runs import (
    STEPS,
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

LANES = 2
STAGES = ("starting", "loading", "caching", "class_images", "training", "saving", "sampling", "end")
DELAYS_SEC = {"starting": 12.0, "training": 0.2, "end": 0.6}
OTHER_DELAY_SEC = 0.08


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    parser.add_argument("--json", type=Path, help="results are put under `kill` in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = study(Path(folder), options.count, options.seed)
    print(json.dumps(result, indent=2))
    if options.json is not None:
        keep(options.json, "kill", result)


def keep(path: Path, name: str, result: dict[str, Any]) -> None:
    """Add a study's result to those of the others."""
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(results | {name: result}, indent=2) + "\n", "utf-8")


def study(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill so often, in two lanes, and sum up what was found."""
    began = time.monotonic()
    make_inputs(folder / "inputs")
    context = multiprocessing.get_context("spawn")
    shares = [(count + lane) // LANES for lane in range(LANES)]
    with context.Pool(LANES) as pool:
        jobs = [(folder, lane, share, seed) for lane, share in enumerate(shares) if share]
        kills = [kill for found in pool.starmap(kill_often, jobs, chunksize=1) for kill in found]
    runs = [kill for kill in kills if kill["stage"] == "finished"]
    kills = [kill for kill in kills if kill["stage"] != "finished"]
    return {
        **machine(),
        "seed": seed,
        "kills": len(kills),
        "kills_by_stage": dict(Counter(kill["stage"] for kill in kills)),
        "kills_with_leftovers": sum(bool(kill["leftovers"]) for kill in kills),
        "damaged_files": [text for kill in kills for text in kill["damage"]],
        "runs": len(runs),
        "runs_identical_to_the_unbroken": sum(run["identical"] for run in runs),
        "runs_lost": [run for run in runs if not run["identical"]],
        "leftovers_at_the_end": [text for run in runs for text in run["leftovers"]],
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def kill_often(folder: Path, lane: int, count: int, seed: int) -> list[dict[str, Any]]:
    """Kill and resume one run after the other; each entry is a kill or the end of a run."""
    torch.set_num_threads(1)
    rng = random.Random(f"{seed} {lane}")
    inputs = folder / "inputs"
    expected = unbroken(fresh(Place(inputs, folder / f"unbroken_{lane}")))
    found: list[dict[str, Any]] = []
    number = 0
    while sum(entry["stage"] != "finished" for entry in found) < count:
        number += 1
        place = fresh(Place(inputs, folder / f"run_{lane}_{number}"))
        for _ in range(rng.randint(2, 8)):
            found.append(start_and_kill(place, rng))
            if found[-1]["stage"] == "finished":
                break
        if found[-1]["stage"] != "finished":
            found.append(finish(place))
        found[-1]["identical"] = found[-1]["lora"] is not None and is_identical(
            found[-1]["lora"], expected
        )
        print(lane, number, [entry["stage"] for entry in found], flush=True)
    return found


def start_and_kill(place: Place, rng: random.Random) -> dict[str, Any]:
    """Start or resume, and kill at a moment drawn by chance, unless the run ends before."""
    wanted = rng.choice(STAGES)
    forked = wanted != "starting" or rng.random() < 0.3
    process = Process(place.job(), place.root / "log.txt", forked=forked)
    left = rng.randint(1, 3)
    if wanted == "starting":
        left = 0
    last: Event | None = None
    stage = "starting"
    if left:
        for event in process.events():
            last, stage = event, stage_of(event) or stage
            left -= stage == wanted
            if not left:
                break
    limit = DELAYS_SEC.get(wanted, OTHER_DELAY_SEC) / (10 if wanted == "starting" and forked else 1)
    time.sleep(rng.uniform(0, limit))
    process.kill()
    for event in process.events():
        last, stage = event, stage_of(event) or stage
    code = process.wait()
    if isinstance(last, Finished):
        return ended(place, last, code)
    return {"stage": stage, "damage": damage(place), "leftovers": leftovers(place)}


def finish(place: Place) -> dict[str, Any]:
    """Resume, undisturbed to the end."""
    process = Process(place.job(), place.root / "log.txt", forked=True)
    events = list(process.events())
    return ended(place, events[-1], process.wait())


def ended(place: Place, last: Event, code: int) -> dict[str, Any]:
    lora = last.result_path if isinstance(last, Finished) else None
    return {
        "stage": "finished",
        "last": str(last),
        "code": code,
        "lora": lora,
        "damage": damage(place),
        "leftovers": leftovers(place),
    }


def stage_of(event: Event) -> str | None:
    """The stage that an event belongs to; after the last checkpoint comes the end."""
    if isinstance(event, Progress):
        return "training"
    if isinstance(event, Checkpoint):
        return "end" if event.step == STEPS else "training"
    return event.stage if isinstance(event, Status) else None


if __name__ == "__main__":
    main()
