"""What a person sees of a run: the events so far, put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..files.own import is_own_file
from . import wording
from .events import (
    LAST,
    Event,
    Finished,
    Last,
    Progress,
    Rating,
    Sample,
    Started,
    Status,
    Stopped,
    Warning,
)

__all__ = ["View"]

Loss = Literal["loss", "instance_loss", "prior_loss"]


@dataclass
class View:
    """The state of a run after the events that it has heard.

    Args:
        starts: one of the run, and one of each time it was resumed.
        current: what was being done last.
        progress: of the last finished step.
        steps: the last report of every step; a resumed run repeats some.
        samples: by their paths; one that was sampled again replaces the earlier.
        warnings: by their messages, each once.
        ratings: of words, in the order in which they were reported.
        result: the last event that names a file.
        end: how the run ended; None while it runs, and where it was killed.
    """

    starts: list[Started] = field(default_factory=list)
    current: Status | Progress | None = None
    progress: Progress | None = None
    steps: dict[int, Progress] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    warnings: dict[str, Warning] = field(default_factory=dict)
    ratings: list[Rating] = field(default_factory=list)
    result: Finished | Stopped | None = None
    end: Last | None = None

    @classmethod
    def of(cls, events: Iterable[Event]) -> View:
        """Return the view of a run that reported these events."""
        view = cls()
        for event in events:
            view.hear(event)
        return view

    def hear(self, event: Event) -> None:
        """Take in the next event."""
        self.end = event if isinstance(event, LAST) else None
        if isinstance(event, Started):
            self.starts.append(event)
        elif isinstance(event, Status):
            self.current = event
        elif isinstance(event, Progress):
            self.current = self.progress = self.steps[event.step] = event
        elif isinstance(event, Sample):
            self.samples[event.path] = event
        elif isinstance(event, Warning):
            self.warnings[event.message] = event
        elif isinstance(event, Rating):
            self.ratings.append(event)
        elif isinstance(event, (Finished, Stopped)) and event.result_path:
            self.result = event

    def sample_files(self, folder: Path) -> dict[tuple[str, int], dict[int, Path]]:
        """Return the sampled images that are in a run's folder, by prompt and seed, and by step."""
        found: dict[tuple[str, int], dict[int, Path]] = {}
        for path, sample in self.samples.items():
            file = folder / Path(path).name  # the run may have been moved since
            if is_own_file(file):
                found.setdefault((sample.prompt, sample.seed), {})[sample.step] = file
        return found

    @property
    def stage(self) -> str:
        """What is being done, without how far it is."""
        if isinstance(self.current, Progress):
            return "Training"
        return wording.stage_text(self.current) if self.current else "Starting"

    @property
    def line(self) -> str:
        """What is being done and how far it is, in one line."""
        if isinstance(self.current, Progress):
            return wording.progress_text(self.current)
        return self.stage if self.current is None else wording.status_text(self.current)

    @property
    def done(self) -> int:
        """How many parts of the stage are done."""
        current = self.current
        return current.step if isinstance(current, Progress) else current.done if current else 0

    @property
    def total(self) -> int:
        """How many parts the stage has; 0 where they cannot be counted."""
        if isinstance(self.current, Progress):
            return self.current.max_train_steps
        return self.current.total if self.current else 0

    def points(self, loss: Loss) -> list[tuple[int, float]]:
        """Return the steps that have this loss, in order, each with its value."""
        values = ((step, getattr(self.steps[step], loss)) for step in sorted(self.steps))
        return [(step, value) for step, value in values if value is not None]
