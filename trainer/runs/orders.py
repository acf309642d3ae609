"""What a host sends to the worker: first one order, then requests, one JSON object a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from . import messages

__all__ = [
    "Compare", "MakeClassImages", "Order", "RateWords", "Request", "Sample", "Save", "Stop",
    "Train", "order_from_line", "request_from_line", "to_line",
]  # fmt: skip


@dataclass(frozen=True)
class Train:
    """Train in the run's folder.

    Args:
        config: as `Config.to_dict` writes it. The worker checks it, so that a refusal is an event.
        resume: continue from the newest checkpoint, if there is one.
    """

    name: ClassVar[str] = "train"
    run: str
    config: Mapping[str, Any]
    resume: bool


@dataclass(frozen=True)
class MakeClassImages:
    """Make the class images that a training with these settings would make.

    Args:
        run: folder of the log; the class images go into the cache next to it.
        settings: values by their settings' names.
    """

    name: ClassVar[str] = "class_images"
    run: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Compare:
    """Generate images from a training's sample prompts, without and with its LoRA.

    Args:
        run: folder of the log.
        config: of the training, as `Config.to_dict` writes it.
        number: of images per prompt.
        output: folder of the images.
    """

    name: ClassVar[str] = "compare"
    run: str
    config: Mapping[str, Any]
    lora: str
    number: int
    output: str


@dataclass(frozen=True)
class RateWords:
    """Measure how much words mean to a base, and propose some that mean little.

    Args:
        run: folder of the log.
        settings: of the base and the precision, by their names.
        class_noun: what the words are rated with, such as "dog".
        words: the user's own.
        number: of words to propose.
    """

    name: ClassVar[str] = "rate_words"
    run: str
    settings: Mapping[str, Any]
    class_noun: str
    words: Sequence[str]
    number: int


@dataclass(frozen=True)
class Stop:
    """Save, and end the job."""

    name: ClassVar[str] = "stop"


@dataclass(frozen=True)
class Save:
    """Write a checkpoint after this step."""

    name: ClassVar[str] = "save"


@dataclass(frozen=True)
class Sample:
    """Sample the prompts after this step."""

    name: ClassVar[str] = "sample"


Order = Train | MakeClassImages | Compare | RateWords
Request = Stop | Save | Sample
ORDERS: dict[str, type[Order]] = messages.by_name(Train, MakeClassImages, Compare, RateWords)
REQUESTS: dict[str, type[Request]] = messages.by_name(Stop, Save, Sample)


def to_line(message: Order | Request) -> str:
    """Write an order or a request as one line of JSON without the line break."""
    return messages.to_line(message, "command")


def order_from_line(line: str) -> Order:
    """Read an order that `to_line` wrote.

    Raises:
        ValueError: the line is not a complete order.
    """
    return messages.from_line(line, "command", ORDERS)


def request_from_line(line: str) -> Request:
    """Read a request that `to_line` wrote.

    Raises:
        ValueError: the line is not a request.
    """
    return messages.from_line(line, "command", REQUESTS)
