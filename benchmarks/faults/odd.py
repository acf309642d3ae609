"""The rarer accidents, one run each: `python -m benchmarks.faults.odd --json FILE.json`.

A read-only output folder, a cache that is removed and a photo that is deleted in mid-run, times of
files that lie in the future (as after the clock was set back), a second process on the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer.runs.events import Event, Failed, Progress

from .disk import end_of, small_disk
from .kill import keep
from .runs import Place, Process, damage, fresh, is_identical, machine, make_inputs, unbroken

YEAR_SEC = 365 * 86400
MID_RUN = 5  # the step at which things happen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="results are put under `odd` in this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder / "inputs")
        expected = unbroken(fresh(Place(folder / "inputs", folder / "unbroken")))
        result = {**machine(), **{study.__name__: study(folder, expected) for study in STUDIES}}
    print(json.dumps(result, indent=2))
    if options.json is not None:
        keep(options.json, "odd", result)


def train(place: Place, at_mid_run: Callable[[Process], object] = lambda _: None) -> Event:
    """Start or resume; something may be done when the step in the middle is reached."""
    process = Process(place.job(), place.root.parent / "log.txt", forked=True)
    last: Event | None = None
    for last in process.events():
        if isinstance(last, Progress) and last.step == MID_RUN:
            at_mid_run(process)
    process.wait()
    assert last is not None
    return last


def outcome(place: Place, last: Event, expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    lora = getattr(last, "result_path", "")
    return {
        "end": end_of(last),
        "told": f"{last.message} {last.hint}" if isinstance(last, Failed) else "",
        "identical": bool(lora) and is_identical(lora, expected),
        "damage": damage(place),
    }


def output_is_read_only(folder: Path, expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    with small_disk(folder / "disk") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        place = fresh(Place(folder / "inputs", folder / "read_only"))
        (place.root / "loras").symlink_to(disk)
        found = outcome(place, train(place), expected)
        return found | {"run_folder_left": place.run.folder.exists()}


def cache_is_removed(folder: Path, expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    place = fresh(Place(folder / "inputs", folder / "no_cache"))
    last = train(place, lambda _: shutil.rmtree(place.run.cache))
    return outcome(place, last, expected)


def photo_is_deleted(folder: Path, expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    inputs = folder / "inputs_2"
    shutil.copytree(folder / "inputs", inputs)
    place = fresh(Place(inputs, folder / "no_photo"))
    found = outcome(place, train(place, lambda _: (inputs / "photos/1.png").unlink()), expected)
    last = train(place)
    return found | {"resume": end_of(last), "resume_told": getattr(last, "message", "")}


def clock_was_ahead(folder: Path, expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Kill a run, date all its files a year ahead but the newest checkpoint, and resume."""
    place = fresh(Place(folder / "inputs", folder / "clock"))
    train(place, lambda process: process.kill())
    newest = max(place.run.checkpoints.iterdir())
    for path in (place.root, *place.root.rglob("*")):
        if newest not in (path, path.parent):
            os.utime(path, (time.time() + YEAR_SEC,) * 2)
    return outcome(place, train(place), expected)


def second_process(folder: Path, expected: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Start the same run again while it is running: refused, and the first is not disturbed."""
    place = fresh(Place(folder / "inputs", folder / "second"))
    refused: list[Event] = []

    def start_again(_: Process) -> None:
        again = Process(place.job(), folder / "log_2.txt", forked=True)
        refused.extend(list(again.events())[-1:])
        again.wait()

    found = outcome(place, train(place, start_again), expected)
    lines = place.run.events.read_text("utf-8")
    told = [getattr(event, "message", "") for event in refused]
    return found | {"refused": told, "is_in_the_first_ones_events": "another process" in lines}


STUDIES = (
    output_is_read_only,
    cache_is_removed,
    photo_is_deleted,
    clock_was_ahead,
    second_process,
)

if __name__ == "__main__":
    main()
