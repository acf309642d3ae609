"""One training for the worker, in a new run or in one to resume; imported when a node runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..trainer.config.config import Config
from ..trainer.files.atomic import new_folder
from ..trainer.runs.history import PastRun, keep_fingerprint
from ..trainer.runs.orders import Train
from ..trainer.runs.run import Run
from .fields import check_choice
from .job import RESUME, START_OVER

__all__ = ["Task", "next_run"]


def next_run(folder: Path, name: str, past: Sequence[PastRun], if_stopped: str) -> Run:
    """Return the run to resume, or create a new one."""
    check_choice("if_stopped", if_stopped, (RESUME, START_OVER))
    if past and if_stopped == RESUME:
        return past[0].run
    return Run(new_folder(folder, name))


@dataclass(frozen=True)
class Task:
    """One training for the worker.

    Args:
        key: the fingerprint of its inputs.
        seen: warnings that the user has already seen.
    """

    config: Config
    key: str
    run: Run
    seen: frozenset[str]

    @property
    def order(self) -> Train:
        """The order for the worker; resuming a new run starts it."""
        return Train(str(self.run.folder), self.config.to_dict(), resume=True)

    def begin(self) -> None:
        """Record the run's number and fingerprint in its folder.

        Raises:
            ConfigError: another process is training this run.
        """
        self.run.check_free()
        self.run.take_number()
        keep_fingerprint(self.run, self.key)
