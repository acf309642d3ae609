"""A job in a worker process, as seen by the host that started it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..environment.environment import check_ready, worker_command, worker_env
from ..files.atomic import append_lines
from ..files.own import open_own
from . import orders
from .crash import RESUME, SEE_LOG, crash_event
from .events import LAST, Event, Failed, Last, from_line, to_line
from .run import Run

__all__ = ["Worker"]

EXIT_GRACE_SEC = 60  # from the last event to the end of the process, which frees the GPU
CREATION_FLAGS = 0
if sys.platform == "win32":
    CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW


class Worker:
    """A job in a process of its own.

    The last event comes after the process has ended and freed its memory.

    Args:
        order: the job; its paths are absolute, or relative to the host's current folder.

    Raises:
        ConfigError: the environment is not installed, another process is training this run, or
            there are links in it.
    """

    def __init__(self, order: orders.Order) -> None:
        check_ready()
        self.run = Run(Path(order.run))
        self.run.check_free()
        self.new = not self.run.config.exists()
        self.run.folder.mkdir(parents=True, exist_ok=True)
        self.killed = False
        self.ended = False
        self.incoming: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.writing = threading.Lock()
        with open_own(self.run.log, "a+b") as log:
            self.process = start(worker_command("trainer.worker"), log)
        self.write(order)
        threading.Thread(target=self.pump, name="dreambooth-worker", daemon=True).start()

    @property
    def returncode(self) -> int | None:
        """The process's exit code; None while it runs."""
        return self.process.poll()

    def events(self) -> Iterator[Event]:
        """Yield every event as it arrives, up to the last one."""
        while not self.ended:
            yield self.take(None)

    def poll_event(self, timeout: float) -> Event | None:
        """Return the next event; None after the last, or if none comes within `timeout` seconds."""
        try:
            return None if self.ended else self.take(timeout)
        except queue.Empty:
            return None

    def take(self, timeout: float | None) -> Event:
        """Wait for the next event; raises queue.Empty after `timeout` seconds, None: never."""
        event = self.incoming.get(timeout=timeout)
        self.ended = isinstance(event, LAST)
        return event

    def send(self, request: orders.Request) -> None:
        """Send a request; a process that has ended ignores it."""
        self.write(request)

    def stop(self, grace: float) -> None:
        """Request a stop and wait; kill the process after `grace` seconds."""
        self.send(orders.Stop())
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the process at once; saved checkpoints stay."""
        if self.returncode is None:
            self.killed = True
            kill_group(self.process)
        self.process.wait()

    def write(self, message: orders.Order | orders.Request) -> None:
        """Send a line; if the process has ended, its last event says why."""
        assert self.process.stdin is not None
        line = orders.to_line(message).encode() + b"\n"
        with self.writing, suppress(OSError):
            while line:
                line = line[os.write(self.process.stdin.fileno(), line) :]

    def pump(self) -> None:
        """Pass on events as they are printed, and the last one when the process has ended."""
        last: Last | None = None
        try:
            for event in self.read_events():
                if isinstance(event, LAST):
                    last = event
                    break
                self.incoming.put(event)
            self.wait_for_end()
            last = last or self.crash()
            self.tidy(last)
        finally:  # whatever happens, no host waits forever
            self.incoming.put(last or Failed("crashed", "The worker was lost.", SEE_LOG, ""))

    def read_events(self) -> Iterator[Event]:
        """Yield the worker's events; anything else that it prints goes to the log."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                yield from_line(line)
            except (ValueError, TypeError, AttributeError):  # perhaps JSON, but not an event
                with suppress(OSError):  # a full disk must not stop the reading
                    append_lines(self.run.log, line)

    def wait_for_end(self) -> None:
        """Wait for the process to end, and kill it if it does not."""
        try:
            self.process.wait(EXIT_GRACE_SEC)
        except subprocess.TimeoutExpired:
            self.kill()

    def crash(self) -> Failed:
        """Return the failure of a process without a last event, and add it to the run's events."""
        if self.killed:
            failed = Failed("killed", "The worker was killed.", RESUME, str(self.run.log))
        else:
            failed = crash_event(self.process.wait(), self.run.log)
        with suppress(OSError):  # the disk may be full; the host gets the event anyway
            append_lines(self.run.events, to_line(failed) + "\n")
        return failed

    def tidy(self, last: Event) -> None:
        """Remove a new run whose settings were refused."""
        if self.new and isinstance(last, Failed) and last.code == "config":
            self.run.discard()


def start(command: list[str], log: BinaryIO) -> subprocess.Popen[str]:
    """Start the worker in its own process group, so that the host's Ctrl-C does not reach it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=worker_env(),
        encoding="utf-8",
        errors="replace",
        start_new_session=sys.platform != "win32",
        creationflags=CREATION_FLAGS,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)
