"""The contents of the tab's fields as they were for an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..trainer.config.config import CONCEPTS, Config, read_config_file
from ..trainer.config.fields import to_field
from ..trainer.errors import ConfigError
from ..trainer.runs.run import Run
from .fields import PATHS, SETTINGS, SHOWN
from .orders import Places

__all__ = ["contents", "run_contents"]


def run_contents(run: Run, places: Places) -> dict[str, Any]:
    """Return the contents of the fields that train a run once more.

    A path is left out where the tab's fields may not name it. Of a run that was made elsewhere,
    only paths in the host's own folders are even looked at.

    Raises:
        ConfigError: the run holds links, its config is damaged, or it has several subjects.
    """
    run.check()
    values = Config.from_values(read_config_file(run.config, own=True)).flat()
    if CONCEPTS in values:
        hint = "The tab trains one at a time; resume the run, or train it in a terminal."
        raise ConfigError(f"“{run.folder.name}” has several subjects.", hint)
    ours = run.is_ours

    def may_name(name: str, path: str) -> bool:
        if not (ours or places.contain(path)):
            return False
        with suppress(ConfigError):
            places.reach.check(name, path)
            return True
        return False

    photos = values["instance_images"]
    folder = photos[0] if len(photos) == 1 and may_name("folder", photos[0]) else ""
    return {
        **contents(values, may_name),
        **base_of(values, places),
        "folder": folder,
        "name": Path(values["output"]).stem,
    }


def contents(values: Mapping[str, Any], may_name: Callable[[str, str], bool]) -> dict[str, Any]:
    """Return what fields show for values of settings."""
    found = {name: to_field(SETTINGS[name], values[name]) for name in SHOWN if name in values}
    for name in PATHS:
        if found.get(name) and not may_name(name, found[name]):
            found[name] = ""
    return found


def base_of(values: Mapping[str, Any], places: Places) -> dict[str, str]:
    """Return the name of the host's checkpoint that is the base, if it still is in its list."""
    names = [name for name, file in places.checkpoints.items() if file == values["base"]]
    return {"base": names[0]} if names else {}
