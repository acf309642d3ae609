"""One training to do."""

from __future__ import annotations

from dataclasses import dataclass

from ...config.config import Config
from ...runs.control import Control, Report
from ...runs.run import Run

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One training to do, where, and who hears of it."""

    config: Config
    run: Run
    resume: bool
    report: Report
    control: Control
