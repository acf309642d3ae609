"""Removes what a stop left of a run, once the run's finished result is saved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...config.config import Config
from ...errors import ConfigError
from ...files.own import is_own_file
from ...model_files.header import read_header
from ...runs.events import Stopped, read_events
from ...runs.run import Run
from ..trainable.origin import CONFIG_KEY

__all__ = ["remove_stopped_results"]

SIDECARS = (".json", ".png")


def remove_stopped_results(run: Run, config: Config) -> None:
    """Remove the results that this run's stops saved, each with its card and preview.

    Only a file that the run's events name, that lies where the result is, and that says itself
    that it was made with the same settings: events of someone else could name any file.
    """
    for path in stopped_results(run, Path(config.result.output)):
        if made_by(path, config):
            for file in (path, *map(path.with_suffix, SIDECARS)):
                with suppress(OSError):  # a host may have it open: then it stays
                    file.unlink(missing_ok=True)


def stopped_results(run: Run, output: Path) -> Iterator[Path]:
    """Yield the existing files of a run's stops."""
    name = re.compile(rf"{re.escape(output.stem)}-step\d{{8}}(_\d+)?{re.escape(output.suffix)}")
    for event in read_events(run.events):
        if isinstance(event, Stopped) and event.result_path:
            path = Path(event.result_path)
            if path.parent == output.parent and name.fullmatch(path.name) and is_own_file(path):
                yield path


def made_by(path: Path, config: Config) -> bool:
    """Return whether a result's own metadata name the settings of a run."""
    try:
        text = read_header(path).metadata.get(CONFIG_KEY, "")
        theirs, ours = Config.from_json(text), config.with_paths(last_part)
    except ConfigError:  # damaged, or of another version
        return False
    steps = ours.training.max_train_steps  # which a resume may change
    return theirs.with_values(max_train_steps=steps) == ours


def last_part(path: str) -> str:
    return Path(path).name
