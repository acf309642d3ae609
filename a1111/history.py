"""The list of earlier runs, and the images that the page may request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..trainer.config.config import CONCEPTS, read_config_file
from ..trainer.errors import ConfigError
from ..trainer.files.input_file import read_object
from ..trainer.files.own import is_own_file, own_files
from ..trainer.prompts.words import escaped
from ..trainer.runs.events import Failed
from ..trainer.runs.history import past_run, runs_in
from ..trainer.runs.run import Run
from ..trainer.runs.wording import end_text

__all__ = ["find_run", "pictures", "run_views"]

MAX_RUNS = 50
MAX_CARD_BYTES = 1_000_000
TAG = re.compile(r"<(?=\w+:)")  # begins one that loads a LoRA or another network


def newest(folder: Path) -> dict[str, Run]:
    """Return the newest runs by name, newest first."""
    return {run.folder.name: run for run in runs_in(folder)[:MAX_RUNS]}


def find_run(folder: Path, name: str) -> Run:
    """Return a listed run.

    Raises:
        ConfigError: there is no such run.
    """
    run = newest(folder).get(name)
    if run is None:
        raise ConfigError(f"There is no run {name!r:.99}.", "Reload the page.")
    return run


def run_views(folder: Path, running: str | None, places: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the listed runs as JSON, without those whose config is damaged.

    Args:
        running: name of the run that is training now.
        places: the folders that results are in.
    """
    views: list[dict[str, Any]] = []
    for name, run in newest(folder).items():
        with suppress(ConfigError):
            views.append(run_view(run, places, running=name == running))
    return views


def run_view(run: Run, places: Sequence[Path], *, running: bool) -> dict[str, Any]:
    values = read_config_file(run.config, own=True)
    past = past_run(run, places)
    lora = past.lora
    ended = past.end.name if past.end else "unfinished"
    state = "running" if running else ended
    return {
        "name": run.folder.name,
        "state": state,
        "text": end_text(past.end, resume="") if isinstance(past.end, Failed) else "",
        "step": past.step,
        "steps": values.get("max_train_steps", 0),
        "base": Path(str(values.get("base", ""))).stem,
        "prompt": lora_prompt(lora, trigger_prompt(lora, values)) if lora and is_name(lora) else "",
        "resumable": state not in ("running", "finished"),
        "pictures": {kind: list(found) for kind, found in pictures(run).items()},
    }


def trigger_prompt(lora: Path, values: Mapping[str, Any]) -> str:
    """Return what was trained, as a prompt of the host: the card's text, or from the settings."""
    with suppress(ConfigError):
        text = read_object(lora.with_suffix(".json"), MAX_CARD_BYTES, "").get("activation text")
        if isinstance(text, str):
            return text
    concepts = values.get(CONCEPTS, [values])
    prompts = [concept.get("instance_prompt") for concept in concepts if isinstance(concept, dict)]
    return escaped(", ".join(prompt for prompt in prompts if isinstance(prompt, str)))[0]


def is_name(lora: Path) -> bool:
    """Return whether a LoRA's name fits into a tag of the host's prompts."""
    return not set("<>:") & set(lora.stem)


def lora_prompt(lora: Path, prompt: str) -> str:
    """Return a prompt that applies this LoRA in the host, and no other network.

    The space after a "<" changes nothing for the text encoder.
    """
    return f"{TAG.sub('< ', prompt)} <lora:{lora.stem}:1>".lstrip()


def pictures(run: Run) -> dict[str, dict[str, Path]]:
    """Return the images of a run by kind and id; no other file is ever sent."""
    folders = {
        "sample": run.samples,
        "before": run.folder / "compare" / "before",
        "after": run.folder / "compare" / "after",
    }
    found = {
        kind: {path.stem: path for path in own_files(run.folder, folder, ".png")}
        for kind, folder in folders.items()
    }
    return {**found, "loss": {"loss": run.loss_plot} if is_own_file(run.loss_plot) else {}}
