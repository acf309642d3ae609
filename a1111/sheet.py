"""A run's images as a table: a row for each prompt or seed, from before training to its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..trainer.runs.events import Sample

__all__ = ["images_per_prompt", "job_sheet", "run_sheet"]

SAMPLED = re.compile(r"step_(\d{6,})_(\d+)")  # the step and the prompt of a sample in training
SEEDED = re.compile(r"sample_(\d+)")  # the seed of an image of a comparison
COMPARED = ("before", "after")
SINGLE = 3  # images before and after of a run with a single prompt

Row = dict[str, Any]


def job_sheet(samples: Iterable[Sample]) -> list[Row]:
    """Return the rows of the images that a job has made so far: {"prompt", "cells"}.

    A cell names an image as the page asks for it: {"kind", "id", "label"}.
    """
    rows: dict[tuple[str, int], Row] = {}
    for sample in samples:
        path = Path(sample.path)
        kind = path.parent.name if path.parent.name in COMPARED else "sample"
        row = rows.setdefault((sample.prompt, sample.seed), {"prompt": sample.prompt, "cells": []})
        label = kind if kind in COMPARED else f"step {sample.step}"
        row["cells"].append(cell(kind, path.stem, label))
    return list(rows.values())


def run_sheet(
    pictures: Mapping[str, Mapping[str, Path]], prompts: Sequence[str], seed: int
) -> list[Row]:
    """Return the rows of a run's images: those sampled in training, then before and after.

    Args:
        pictures: as `history.pictures` returns them.
        prompts: those that were sampled; empty where they are not known.
        seed: of the first prompt's samples; an image of the base from the same seed is step 0.
    """
    return [*sampled_rows(pictures, prompts, seed), *compared_rows(pictures, prompts, seed)]


def sampled_rows(
    pictures: Mapping[str, Mapping[str, Path]], prompts: Sequence[str], seed: int
) -> list[Row]:
    rows: dict[int, dict[int, dict[str, str]]] = {}  # cells by prompt and step
    for name in pictures["sample"]:
        if found := SAMPLED.fullmatch(name):
            step, index = int(found[1]), int(found[2])
            rows.setdefault(index, {})[step] = cell("sample", name, f"step {step}")
    for index, cells in rows.items():
        base = f"sample_{seed + index}"
        if base in pictures["before"]:
            cells.setdefault(0, cell("before", base, "step 0"))
    return [
        {"prompt": prompt_of(prompts, index), "cells": [cells[step] for step in sorted(cells)]}
        for index, cells in sorted(rows.items())
    ]


def compared_rows(
    pictures: Mapping[str, Mapping[str, Path]], prompts: Sequence[str], seed: int
) -> list[Row]:
    names = {name for kind in COMPARED for name in pictures[kind]}
    seeds = sorted(int(found[1]) for name in names if (found := SEEDED.fullmatch(name)))
    rows: list[Row] = []
    for number in seeds:
        name = f"sample_{number}"
        kinds = [kind for kind in COMPARED if name in pictures[kind]]
        prompt = prompt_of(prompts, (number - seed) // images_per_prompt(prompts))
        rows.append({"prompt": prompt, "cells": [cell(kind, name, kind) for kind in kinds]})
    return rows


def images_per_prompt(prompts: Sequence[str]) -> int:
    """Return how many seeds a comparison draws of each prompt; with one, those of the samples."""
    return 1 if len(prompts) > 1 else SINGLE


def cell(kind: str, name: str, label: str) -> dict[str, str]:
    return {"kind": kind, "id": name, "label": label}


def prompt_of(prompts: Sequence[str], index: int) -> str:
    return prompts[index] if 0 <= index < len(prompts) else ""
