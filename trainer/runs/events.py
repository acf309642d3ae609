"""What a run reports: frozen events, one JSON object a line in events.jsonl and on stdout."""

from __future__ import annotations

import dataclasses
import json
import time
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal

from ..files.input_file import parse_json

ResultKind = Literal["", "lora", "checkpoint", "embedding"]  # of the file; "" where there is none
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
    """The last event of a complete job; `result_path` is empty where the job makes no file."""

    name: ClassVar[str] = "finished"
    step: int
    result_path: str
    result_kind: ResultKind
    seconds: float


@dataclass(frozen=True)
class Stopped(Event):
    """The last event of a job that was asked to stop."""

    name: ClassVar[str] = "stopped"
    step: int
    result_path: str
    result_kind: ResultKind
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
MAX_LINE = 1_000_000  # characters


def to_line(event: Event) -> str:
    """Write an event as one line of JSON without the line break."""
    line = json.dumps({"event": event.name, **dataclasses.asdict(event)}, ensure_ascii=False)
    return line.encode(errors="backslashreplace").decode()  # JSON's own escape of half a character


def read_events(path: Path) -> Iterator[Event]:
    """The events of a run's file, if it is there; a line torn by a power cut is passed by."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        while line := file.readline(MAX_LINE):
            with suppress(ValueError):
                yield from_line(line)


def from_line(line: str) -> Event:
    """Read a line that `to_line` wrote; fields that a newer version added are dropped.

    Raises:
        ValueError: the line is no JSON object of a known event.
    """
    document = parse_json(line)
    kind = EVENTS.get(str(document.get("event"))) if isinstance(document, dict) else None
    if kind is None:
        raise ValueError(f"no known event: {line[:200]}")
    hints = field_hints(kind)
    values = {key: value for key, value in document.items() if key in hints}
    if len(values) != len(hints) or not all(fits(values[key], hints[key]) for key in values):
        raise ValueError(f"no whole event: {line[:200]}")
    return kind(**values)


@cache
def field_hints(kind: type[Event]) -> dict[str, Any]:
    """The type of every field of an event."""
    hints = typing.get_type_hints(kind)
    return {spec.name: hints[spec.name] for spec in dataclasses.fields(kind)}


def fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value has a field's type, so that who shows it need not check."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is UnionType:
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is Mapping:
        return isinstance(value, dict) and all(fits(item, parts[1]) for item in value.values())
    if type(value) is int:
        return hint in (int, float) and abs(value) < 2**63
    return type(value) is hint
