"""What tests of bad input assert: one ConfigError that names it, soon and in little memory."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainer.errors import UNSHOWN, ConfigError

LIMIT_SEC = 10
MAX_MESSAGE = 8192 + 1000  # a path may be long, and nothing else


class TooSlow(BaseException):
    """No Exception, so that nothing that is tested can catch it."""


@contextmanager
def time_limit(seconds: int = LIMIT_SEC) -> Iterator[None]:
    """End what takes longer, also where it waits; no limit on systems without alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def too_slow(number: int, frame: object) -> None:
        raise TooSlow(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_limit(mib: int) -> Iterator[None]:
    """Let this process have so much more memory than now; no limit where none can be set."""
    resource = pytest.importorskip("resource")
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (mib << 20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refused(call: Callable[[], object], message: str) -> ConfigError:
    """Assert that a call ends in time in a ConfigError whose message matches, with a remedy."""
    with time_limit(), pytest.raises(ConfigError) as caught:
        call()
    error = caught.value
    check_error(error)
    assert re.search(message, error.message), error.message
    return error


def check_error(error: ConfigError) -> None:
    """Assert what holds for every message: one short line that ends, and a remedy that ends."""
    assert error.message.endswith("."), error.message
    assert error.hint.endswith((".", "?")), error.hint
    assert len(error.message) <= MAX_MESSAGE
    assert not UNSHOWN.search(error.message + error.hint)
