"""The requests that a job receives, and the function it reports events to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as Flag

from .events import Event

__all__ = ["Control", "Report", "Stop"]

Report = Callable[[Event], None]


class Stop(Exception):
    """A stop was requested before there was anything to save."""


@dataclass
class Control:
    """Requests from the host or terminal, checked between steps."""

    stop: Flag = field(default_factory=Flag)
    save: Flag = field(default_factory=Flag)
    sample: Flag = field(default_factory=Flag)

    def check(self) -> None:
        """Raise Stop if a stop was requested."""
        if self.stop.is_set():
            raise Stop

    def take(self, flag: Flag) -> bool:
        """Return whether there is a request, and clear it."""
        present = flag.is_set()
        flag.clear()
        return present
