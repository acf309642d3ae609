"""The samples of a run on one sheet: a row for each prompt, a column for each step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..trainer.files.own import is_own_file
from ..trainer.photos.images import read_photo
from ..trainer.photos.pictures import Row, labelled_grid, save_picture
from ..trainer.runs.events import read_events
from ..trainer.runs.run import Run
from ..trainer.runs.view import View

__all__ = ["picked", "write_sheet"]

SAMPLED = re.compile(r"step_(\d{6,})_(\d+)\.png")  # the step, and the number of the prompt
MAX_STEPS, MAX_PROMPTS = 6, 20


def write_sheet(run: Run) -> Path | None:
    """Write the sheet of a run into its folder; return its path, or None if nothing was sampled.

    Raises:
        ConfigError: a sample cannot be read.
    """
    found = samples(run)
    if not found:
        return None
    steps = picked(sorted({step for files in found.values() for step in files}))
    rows = []
    for prompt, files in list(found.items())[:MAX_PROMPTS]:
        shown = {step: files[step] for step in steps if step in files}
        label = f"{prompt}\u2002(step {', '.join(map(str, shown))})"
        rows.append(Row(label, [read_photo(path) for path in shown.values()]))
    path = run.folder / "samples.png"
    save_picture(path, labelled_grid(rows))
    return path


def samples(run: Run) -> Mapping[str, Mapping[int, Path]]:
    """Return the files of the samples by their prompts and steps."""
    prompts = {Path(path).name: sample.prompt for path, sample in run_view(run).samples.items()}
    found: dict[tuple[int, str], dict[int, Path]] = {}
    for path in sorted(run.samples.glob("step_*.png")):
        match = SAMPLED.fullmatch(path.name)
        if match and path.name in prompts and is_own_file(path):
            row = (int(match[2]), prompts[path.name])
            found.setdefault(row, {})[int(match[1])] = path
    return {prompt: found[index, prompt] for index, prompt in sorted(found)}


def run_view(run: Run) -> View:
    return View.of(read_events(run.events))


def picked(steps: list[int]) -> list[int]:
    """Return at most MAX_STEPS of the steps, spread evenly, with the first and the last."""
    if len(steps) <= MAX_STEPS:
        return steps
    places = [round(i * (len(steps) - 1) / (MAX_STEPS - 1)) for i in range(MAX_STEPS)]
    return [steps[place] for place in places]
