"""What a run reports: frozen events, one JSON object per line in events.jsonl and on stdout."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import ClassVar, Literal

from ..files.own import is_own_file, open_own
from . import messages

__all__ = [
    "EVENTS", "LAST", "Checkpoint", "Event", "Failed", "Finished", "Last", "Progress", "Rating",
    "ResultKind", "Sample", "Stage", "Started", "Status", "Stopped", "Warning", "from_line",
    "read_events", "to_line",
]  # fmt: skip

Stage = Literal[
    "environment", "loading", "caching", "class_images", "training", "sampling", "saving", "rating"
]
ResultKind = Literal["", "lora", "checkpoint", "embedding"]  # "": the job makes no such file


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, at `time` seconds since 1970."""

    name: ClassVar[str]
    time: float = field(default_factory=time.time, kw_only=True)


@dataclass(frozen=True)
class Started(Event):
    """All is loaded and checked, and training begins.

    Args:
        memory_plan: in bytes.
        captions: how many photos have captions, in words.
    """

    name: ClassVar[str] = "started"
    run: str
    family: str
    device: str
    dtype: str
    num_instance_images: int
    num_class_images: int
    start_step: int
    max_train_steps: int
    trainable_parameters: int
    memory_plan: Mapping[str, int]
    captions: str = ""


@dataclass(frozen=True)
class Status(Event):
    """Work on one stage; `done` of `total` parts where they can be counted."""

    name: ClassVar[str] = "status"
    stage: Stage
    done: int = 0
    total: int = 0
    message: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """One finished optimizer update; `prior_loss` is the unweighted mean over class images."""

    name: ClassVar[str] = "progress"
    step: int
    max_train_steps: int
    loss: float
    instance_loss: float
    prior_loss: float | None
    learning_rate: float
    steps_per_sec: float
    eta_sec: float
    peak_memory_gib: float


@dataclass(frozen=True)
class Sample(Event):
    """An image sampled with the weights as they are at `step`."""

    name: ClassVar[str] = "sample"
    step: int
    path: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Checkpoint(Event):
    """A state from which the run can be resumed."""

    name: ClassVar[str] = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True)
class Warning(Event):
    """Something that the user should know; the run continues."""

    name: ClassVar[str] = "warning"
    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class Rating(Event):
    """How much a word means to the base.

    Args:
        tokens: what it is to the text encoder's tokenizer, in words.
        prior: 1 is as much as an ordinary word.
        weak: whether that is little enough for an identifier.
        own: whether it is a word of the user, not a proposal.
    """

    name: ClassVar[str] = "rating"
    word: str
    tokens: str
    prior: float
    weak: bool
    own: bool


@dataclass(frozen=True)
class Finished(Event):
    """The last event of a complete job; `result_path` is empty where the kind is."""

    name: ClassVar[str] = "finished"
    step: int
    result_path: str
    result_kind: ResultKind
    seconds: float


@dataclass(frozen=True)
class Stopped(Event):
    """The last event of a job that was asked to stop; the result is what it had by then."""

    name: ClassVar[str] = "stopped"
    step: int
    result_path: str
    result_kind: ResultKind
    resumable: bool


@dataclass(frozen=True)
class Failed(Event):
    """The last event of a job that could not continue; code "config" is what the user can fix."""

    name: ClassVar[str] = "failed"
    code: str
    message: str
    hint: str
    log_path: str


EVENTS = messages.by_name(
    Started, Status, Progress, Sample, Checkpoint, Warning, Rating, Finished, Stopped, Failed
)
Last = Finished | Stopped | Failed
LAST = (Finished, Stopped, Failed)
MAX_LINE = 1_000_000  # characters


def to_line(event: Event) -> str:
    """Write an event as one line of JSON without the line break."""
    return messages.to_line(event, "event")


def from_line(line: str) -> Event:
    """Read an event from a line that `to_line` wrote.

    Raises:
        ValueError: the line is not a complete event.
    """
    return messages.from_line(line, "event", EVENTS)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the events of a run's file, if it exists; an incomplete line is skipped."""
    if not is_own_file(path):
        return
    with TextIOWrapper(open_own(path), "utf-8", errors="replace", newline="\n") as file:
        while line := file.readline(MAX_LINE):
            with suppress(ValueError):
                yield from_line(line)
