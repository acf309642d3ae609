"""The samples of a run on one sheet: a row for each prompt, a column for each step."""

from __future__ import annotations

from pathlib import Path

from ..trainer.photos.images import read_photo
from ..trainer.photos.pictures import Row, labelled_grid, save_picture
from ..trainer.runs.events import read_events
from ..trainer.runs.run import Run
from ..trainer.runs.view import View

__all__ = ["picked", "write_sheet"]

MAX_STEPS, MAX_PROMPTS = 6, 20


def write_sheet(run: Run) -> Path | None:
    """Write the sheet of a run into its folder; return its path, or None if nothing was sampled.

    Raises:
        ConfigError: a sample cannot be read.
    """
    found = View.of(read_events(run.events)).sample_files(run.samples)
    if not found:
        return None
    steps = picked(sorted({step for files in found.values() for step in files}))
    rows = []
    for (prompt, _seed), files in list(found.items())[:MAX_PROMPTS]:
        shown = {step: files[step] for step in steps if step in files}
        label = f"{prompt}\u2002(step {', '.join(map(str, shown))})"
        rows.append(Row(label, [read_photo(path) for path in shown.values()]))
    path = run.folder / "samples.png"
    save_picture(path, labelled_grid(rows))
    return path


def picked(steps: list[int]) -> list[int]:
    """Return at most MAX_STEPS of the steps, spread evenly, with the first and the last."""
    if len(steps) <= MAX_STEPS:
        return steps
    places = [round(i * (len(steps) - 1) / (MAX_STEPS - 1)) for i in range(MAX_STEPS)]
    return [steps[place] for place in places]
