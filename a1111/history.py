"""Earlier runs as the page lists them, and the pictures that it may ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..trainer.config.config import read_config_file
from ..trainer.errors import ConfigError
from ..trainer.runs import events
from ..trainer.runs.run import Run

MAX_RUNS = 50
SPECIAL = re.compile(r"[\\()\[\]]")  # of the host's prompts; the trainer takes prompts literally


def runs_in(folder: Path) -> dict[str, Run]:
    """The newest runs by name, newest first."""
    configs = sorted(folder.glob("*/config.json"), key=changed, reverse=True)
    return {file.parent.name: Run(file.parent) for file in configs[:MAX_RUNS]}


def changed(file: Path) -> int:
    return file.stat().st_mtime_ns


def find_run(folder: Path, name: str) -> Run:
    """A run of the list.

    Raises:
        ConfigError: there is none of this name.
    """
    run = runs_in(folder).get(name)
    if run is None:
        raise ConfigError(f"There is no run {name!r:.99}.", "Reload the page.")
    return run


def run_views(folder: Path, running: str | None) -> list[dict[str, Any]]:
    """Every run as JSON; one whose config is damaged is left out.

    Args:
        running: name of the run that is being trained.
    """
    views: list[dict[str, Any]] = []
    for name, run in runs_in(folder).items():
        with suppress(ConfigError):
            views.append(run_view(run, running=name == running))
    return views


def run_view(run: Run, *, running: bool) -> dict[str, Any]:
    values = read_config_file(run.config)
    end = how_it_ended(run)
    lora = lora_of(run)
    state = "running" if running else end["state"]
    return {
        "name": run.folder.name,
        "state": state,
        "text": end["text"],
        "step": end["step"],
        "steps": values.get("max_train_steps", 0),
        "base": Path(str(values.get("base", ""))).stem,
        "prompt": lora_prompt(lora, str(values.get("instance_prompt", ""))) if lora else "",
        "resumable": state not in ("running", "finished"),
        "pictures": {kind: list(found) for kind, found in pictures(run).items()},
    }


def lora_prompt(lora: Path, prompt: str) -> str:
    """What makes the host draw with a LoRA."""
    return f"{SPECIAL.sub(lambda found: chr(92) + found.group(), prompt)} <lora:{lora.stem}:1>"


def lora_of(run: Run) -> Path | None:
    """The LoRA that a run has made, if it is still there."""
    path = how_it_ended(run)["lora"]
    with suppress(OSError):  # no name for a file
        return Path(path) if path and Path(path).is_file() else None
    return None


def how_it_ended(run: Run) -> Mapping[str, Any]:
    try:
        status = run.events.stat()
    except OSError:  # nothing was reported yet
        return {"state": "unfinished", "text": "", "step": 0, "lora": ""}
    return read_end(run.events, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2 * MAX_RUNS)
def read_end(file: Path, size: int, mtime_ns: int) -> Mapping[str, Any]:
    """State, text, step and LoRA by the last events of a file that has this size and time."""
    state, text, step, lora = "unfinished", "", 0, ""
    for event in events.read_events(file):
        state, text = "unfinished", ""
        if isinstance(event, events.Progress):
            step = event.step
        elif isinstance(event, (events.Finished, events.Stopped)):
            state, lora = event.name, event.result_path or lora
        elif isinstance(event, events.Failed):
            state, text = "failed", f"{event.message} {event.hint}"
    return {"state": state, "text": text, "step": step, "lora": lora}


def pictures(run: Run) -> dict[str, dict[str, Path]]:
    """The files that the page may see, by kind and id; nothing else of a run is ever sent."""
    folders = {
        "sample": run.samples,
        "before": run.folder / "compare" / "before",
        "after": run.folder / "compare" / "after",
    }
    found = {
        kind: {path.stem: path for path in sorted(folder.glob("*.png"))}
        for kind, folder in folders.items()
    }
    return {**found, "loss": {"loss": run.loss_plot} if run.loss_plot.is_file() else {}}
