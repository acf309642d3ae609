"""What a run reports: frozen events, one JSON object a line in events.jsonl and on stdout."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

Stage = Literal[
    "environment", "loading", "caching", "class_images", "training", "sampling", "saving"
]


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, at `time` seconds since 1970."""

    name: ClassVar[str]
    time: float = field(default_factory=time.time, kw_only=True)


@dataclass(frozen=True)
class Started(Event):
    """Everything is loaded and checked; training begins. `memory_plan` is in bytes."""

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
    """A picture drawn with the adapter as it is at `step`."""

    name: ClassVar[str] = "sample"
    step: int
    path: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Checkpoint(Event):
    """A state from which the run can go on."""

    name: ClassVar[str] = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True)
class Warning(Event):
    """Something that the user should know; the run goes on."""

    name: ClassVar[str] = "warning"
    code: str
    message: str
    hint: str


@dataclass(frozen=True)
class Finished(Event):
    """The last event of a complete job; `lora_path` is empty where the job makes no LoRA."""

    name: ClassVar[str] = "finished"
    step: int
    lora_path: str
    seconds: float


@dataclass(frozen=True)
class Stopped(Event):
    """The last event of a job that was asked to stop."""

    name: ClassVar[str] = "stopped"
    step: int
    lora_path: str
    resumable: bool


@dataclass(frozen=True)
class Failed(Event):
    """The last event of a job that could not go on; code "config" is what the user can mend."""

    name: ClassVar[str] = "failed"
    code: str
    message: str
    hint: str
    log_path: str


EVENTS: dict[str, type[Event]] = {
    kind.name: kind
    for kind in (
        Started, Status, Progress, Sample, Checkpoint, Warning, Finished, Stopped, Failed
    )
}  # fmt: skip
LAST = (Finished, Stopped, Failed)


def to_line(event: Event) -> str:
    """Write an event as one line of JSON without the line break."""
    return json.dumps({"event": event.name, **dataclasses.asdict(event)}, ensure_ascii=False)


def read_events(path: Path) -> Iterator[Event]:
    """The events of a run's file, if it is there; a line torn by a power cut is passed by."""
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            yield from_line(line)


def from_line(line: str) -> Event:
    """Read a line that `to_line` wrote; fields that a newer version added are dropped.

    Raises:
        ValueError: the line is no JSON object of a known event.
    """
    document: Any = json.loads(line)
    kind = EVENTS.get(str(document.get("event"))) if isinstance(document, dict) else None
    if kind is None:
        raise ValueError(f"no known event: {line[:200]}")
    known = {spec.name for spec in dataclasses.fields(kind)}
    try:
        return kind(**{key: value for key, value in document.items() if key in known})
    except TypeError as error:
        raise ValueError(f"no whole event: {line[:200]}") from error
