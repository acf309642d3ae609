"""Past runs: the newest first, what each was made from, and how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..files.atomic import write_atomic
from ..files.input_file import read_object
from ..files.network import lies_in
from ..files.own import is_own_file
from .events import Finished, Last, ResultKind, read_events
from .run import CONFIG, INPUTS, Run
from .view import View

__all__ = [
    "PastRun", "keep_fingerprint", "lost_results", "past_run", "runs_from", "runs_in",
]  # fmt: skip

MAX_INPUTS_BYTES = 10_000
REMEMBERED = 200


@dataclass(frozen=True)
class PastRun:
    """How a run went.

    Args:
        end: None where it was killed, or still runs.
        step: the last one that was finished.
        result_path: of the newest file that it made.
        places: folders of results; a run from someone else could name any file as its result.
    """

    run: Run
    end: Last | None = None
    family: str = ""
    step: int = 0
    result_path: str = ""
    result_kind: ResultKind = ""
    places: Sequence[Path] = ()

    @property
    def result(self) -> Path | None:
        """The newest file that the run has made, if it is still there."""
        if not lies_in(self.result_path, self.places):
            return None
        path = Path(self.result_path)
        with suppress(OSError):  # not a possible name of a file
            return path if path.is_file() else None

    @property
    def lora(self) -> Path | None:
        """The result, if it is a LoRA."""
        return self.result if self.result_kind == "lora" else None

    @property
    def finished_lora(self) -> Path | None:
        """The LoRA of a finished run, if it is still there."""
        return self.lora if isinstance(self.end, Finished) else None


def runs_in(folder: Path, file: str = CONFIG) -> list[Run]:
    """Return the runs of a folder that have a file of this name, newest first.

    The order is that of their numbers; runs without one come last, by name: dog_10, dog_9, dog.
    """
    found = [Run(path.parent) for path in folder.glob(f"*/{file}") if is_own_file(path)]
    return sorted(found, key=lambda run: (run.number, natural(run.folder.name)), reverse=True)


def natural(name: str) -> list[str | int]:
    """Return a sort key that counts dog_10 after dog_9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def past_run(run: Run, places: Sequence[Path]) -> PastRun:
    """Return how a run went, by its events.

    Args:
        places: the folders that results are in; no other path of the events is looked at.
    """
    try:
        status = run.events.lstat()
        past = read_past(run, status.st_size, status.st_mtime_ns)
    except OSError:  # nothing was reported yet, or it cannot be read
        return PastRun(run)
    return replace(past, places=places)


@lru_cache(maxsize=REMEMBERED)
def read_past(run: Run, _size: int, _mtime_ns: int) -> PastRun:
    """Read the events of a file that has this size and time."""
    view = View.of(read_events(run.events))
    return PastRun(
        run,
        view.end,
        view.starts[-1].family if view.starts else "",
        view.progress.step if view.progress else 0,
        view.result.result_path if view.result else "",
        view.result.result_kind if view.result else "",
    )


def keep_fingerprint(run: Run, fingerprint: str) -> None:
    """Note in a run what it is made from."""
    write_atomic(run.inputs, json.dumps({"fingerprint": fingerprint}))


def runs_from(folder: Path, fingerprint: str, places: Sequence[Path]) -> list[PastRun]:
    """Return the runs that were made from the same inputs, newest first."""
    runs = (run for run in runs_in(folder, INPUTS) if fingerprint_of(run) == fingerprint)
    return [past_run(run, places) for run in runs]


def fingerprint_of(run: Run) -> Any:
    """Return what a run was made from; None of a damaged file, which matches no inputs."""
    try:
        return read_object(run.inputs, MAX_INPUTS_BYTES, "", own=True).get("fingerprint")
    except ConfigError:
        return None


def lost_results(folder: Path, places: Sequence[Path]) -> list[str]:
    """Return the folders of finished runs whose result was deleted since."""
    ends = [past_run(run, places) for run in runs_in(folder, INPUTS)]
    finished = [past for past in ends if isinstance(past.end, Finished)]
    return sorted(str(past.run.folder) for past in finished if past.result is None)
