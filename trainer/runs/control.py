"""How a job hears from outside, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as Flag

from .events import Event

Report = Callable[[Event], None]


class Stop(Exception):
    """Work was given up because a stop was asked for."""


@dataclass
class Control:
    """Requests from the host or terminal, looked at between steps."""

    stop: Flag = field(default_factory=Flag)
    save: Flag = field(default_factory=Flag)
    sample: Flag = field(default_factory=Flag)

    def check(self) -> None:
        """Raise Stop if a stop was asked for."""
        if self.stop.is_set():
            raise Stop

    def take(self, flag: Flag) -> bool:
        """Whether a request is there; it is then done with."""
        present = flag.is_set()
        flag.clear()
        return present
