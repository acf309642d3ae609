"""The list of earlier runs, and the images that the page may request."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..trainer.config.config import CONCEPTS, Config, read_config_file
from ..trainer.errors import ConfigError
from ..trainer.files.input_file import read_object
from ..trainer.files.own import is_own_file, own_files
from ..trainer.model_files.header import read_header
from ..trainer.prompts.words import escaped
from ..trainer.runs.events import Failed
from ..trainer.runs.history import PastRun, past_run, runs_in
from ..trainer.runs.run import Run
from ..trainer.runs.wording import end_text
from .fields import labelled
from .kept import kept_steps
from .report_page import has_report
from .sheet import run_sheet

__all__ = ["find_run", "pictures", "run_views"]

MAX_RUNS = 50
MAX_CARD_BYTES = 1_000_000
TAG = re.compile(r"<(?=\w+:)")  # begins one that loads a LoRA or another network
TRIGGER_KEY = "modelspec.trigger_phrase"  # in a file's metadata


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


def run_views(
    folder: Path, running: str | None, places: Sequence[Path], checkpoints: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the listed runs as JSON, without those whose config is damaged.

    Args:
        running: name of the run that is training now.
        places: the folders that results are in.
        checkpoints: files of the host's checkpoints, by the names in its list.
    """
    listed = {Path(file).absolute(): name for name, file in checkpoints.items()}
    views: list[dict[str, Any]] = []
    for name, run in newest(folder).items():
        with suppress(ConfigError):
            views.append(run_view(run, places, listed, running=name == running))
    return views


def run_view(
    run: Run, places: Sequence[Path], listed: Mapping[Path, str], *, running: bool
) -> dict[str, Any]:
    values = read_config_file(run.config, own=True)
    past = past_run(run, places)
    ended = past.end.name if past.end else "unfinished"
    state = "running" if running else ended
    return {
        "name": run.folder.name,
        "state": state,
        "text": labelled(end_text(past.end, resume="")) if isinstance(past.end, Failed) else "",
        "step": past.step,
        "steps": values.get("max_train_steps", 0),
        "base": Path(str(values.get("base", ""))).stem,
        **use_of(past, values, listed),
        "resumable": state not in ("running", "finished"),
        **images_of(run, values),
        "report": has_report(run),
        "kept": [] if running or past.result_kind != "lora" else kept(past),
    }


def kept(past: PastRun) -> list[int]:
    """Return the steps whose LoRA can be taken; that of the last step is the result."""
    return [step for step in kept_steps(past.run, past.result) if step != past.step]


def images_of(run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of a run's images, and whether there is a plot of its loss."""
    prompts, seed = [], 0
    with suppress(ConfigError):  # of another version: its images are still shown
        config = Config.from_values(values)
        prompts, seed = config.sample_prompts, config.samples.sample_seed
    found = pictures(run)
    return {"sheet": run_sheet(found, prompts, seed), "loss": bool(found["loss"])}


def use_of(past: PastRun, values: Mapping[str, Any], listed: Mapping[Path, str]) -> dict[str, Any]:
    """Return how the host's txt2img uses a result: a prompt, and a checkpoint to select.

    Args:
        listed: the names of the host's checkpoints in its list, by file.
    """
    result, prompt, checkpoint = past.result, "", ""
    if result and past.result_kind == "lora" and is_name(result):
        prompt = lora_prompt(result, trigger_prompt(result, values))
    if result and past.result_kind == "checkpoint":
        checkpoint = listed.get(result.absolute(), "")
        prompt = without_tags(trigger_prompt(result, values))
    comparable = result is not None and past.result_kind in ("lora", "checkpoint")
    return {"prompt": prompt, "checkpoint": checkpoint, "comparable": comparable}


def trigger_prompt(result: Path, values: Mapping[str, Any]) -> str:
    """Return what was trained, as a prompt of the host.

    The text of a LoRA's card, or that in the file, or else from the settings.
    """
    with suppress(ConfigError):
        text = read_object(result.with_suffix(".json"), MAX_CARD_BYTES, "").get("activation text")
        if isinstance(text, str):
            return text
    with suppress(ConfigError, LookupError):
        return escaped(read_header(result).metadata[TRIGGER_KEY])[0]
    concepts = values.get(CONCEPTS, [values])
    prompts = [concept.get("instance_prompt") for concept in concepts if isinstance(concept, dict)]
    return escaped(", ".join(prompt for prompt in prompts if isinstance(prompt, str)))[0]


def is_name(lora: Path) -> bool:
    """Return whether a LoRA's name fits into a tag of the host's prompts."""
    return not set("<>:") & set(lora.stem)


def lora_prompt(lora: Path, prompt: str) -> str:
    """Return a prompt that applies this LoRA in the host, and no other network."""
    return f"{without_tags(prompt)} <lora:{lora.stem}:1>".lstrip()


def without_tags(prompt: str) -> str:
    """Return a prompt that loads no network: a space after "<" is nothing to the text encoder."""
    return TAG.sub("< ", prompt)


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
