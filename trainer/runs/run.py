"""A run from outside: its folder, and the worker process that fills it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from .crash import RESUME, SEE_LOG, crash_event
from ..environment.environment import check_ready, worker_command, worker_env
from ..errors import ConfigError
from .events import LAST, Event, Failed, from_line, to_line
from ..files.atomic import append_lines, check_writable, remove_leftovers, write_atomic
from ..files.lock import Lock

EXIT_GRACE_SEC = 60  # from the last event to the end of the process, which frees the GPU
CREATION_FLAGS = 0
if sys.platform == "win32":
    CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW


@dataclass(frozen=True)
class Run:
    """The folder that holds all there is to know about one training."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def loss_plot(self) -> Path:
        return self.folder / "loss.png"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def cache(self) -> Path:
        """What runs share: latents, embeddings and class images, beside the runs."""
        return self.folder.parent / "cache"

    @property
    def inputs(self) -> Path:
        """What a host started the run from."""
        return self.folder / "inputs.json"

    @cached_property
    def lock(self) -> Lock:
        """Held by the one process that trains here."""
        return Lock(self.folder / "lock")

    def create(self, config: str) -> None:
        """Make the folder and write the config's JSON text."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.config, config)

    def check_free(self) -> None:
        """Refuse a run that another process trains, before anything in it is touched.

        Raises:
            ConfigError: there is one, or nothing can be written here.
        """
        check_writable(self.folder, "run folder")
        lock = Lock(self.lock.path)
        if lock.path.exists() and not lock.take():
            raise self.busy()
        lock.release()

    def claim(self, output: Path) -> None:
        """Take the run for this process, and remove what a killed one left half-written.

        Args:
            output: the folder of the LoRA.

        Raises:
            ConfigError: another process trains it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.lock.take():
            raise self.busy()
        for partial in self.checkpoints.glob("*.partial"):
            shutil.rmtree(partial, ignore_errors=True)
        caches = [self.cache / "latents", *(self.cache / "class_images").glob("*")]
        remove_leftovers(self.lock, [self.folder, self.samples, *caches, output])

    def busy(self) -> ConfigError:
        return ConfigError(
            f"The run {self.folder} is being trained by another process.",
            "Wait for its end or stop it, or start a new run in another folder.",
        )

    def discard(self) -> None:
        """Remove a run that was refused before it began; not one that another process trains."""
        if not self.folder.exists() or not self.lock.take():
            return
        for file in (self.config, self.inputs, self.events, self.log):
            with suppress(OSError):  # on Windows the worker itself holds its log open
                file.unlink()
        self.lock.release()
        self.lock.path.unlink(missing_ok=True)
        with suppress(OSError):  # what is not ours stays, and so does the folder round it
            self.folder.rmdir()
            self.folder.parent.rmdir()


class Worker:
    """A job in a process of its own.

    The last event comes when the process has ended and its memory is free again.

    Args:
        job: {"command": ..., "run": folder, ...}, the worker's first line of input; its paths are
            absolute, or relative to the host's current folder.

    Raises:
        ConfigError: the environment is not installed, or another process trains this run.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        check_ready()
        self.run = Run(Path(job["run"]))
        self.run.check_free()
        self.new = not self.run.config.exists()
        self.run.folder.mkdir(parents=True, exist_ok=True)
        self.killed = False
        self.ended = False
        self.incoming: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.writing = threading.Lock()
        with self.run.log.open("ab") as log:
            self.process = start(worker_command("-u", "-m", "trainer.worker"), log)
        self.write(job)
        threading.Thread(target=self.pump, name="dreambooth-worker", daemon=True).start()

    @property
    def returncode(self) -> int | None:
        """The process's exit code; None while it runs."""
        return self.process.poll()

    def events(self) -> Iterator[Event]:
        """Every event as it comes, up to the last one."""
        while not self.ended:
            yield self.take(None)

    def poll_event(self, timeout: float) -> Event | None:
        """The next event; None when none came for so many seconds, or after the last one."""
        try:
            return None if self.ended else self.take(timeout)
        except queue.Empty:
            return None

    def take(self, timeout: float | None) -> Event:
        event = self.incoming.get(timeout=timeout)
        self.ended = isinstance(event, LAST)
        return event

    def send(self, command: str) -> None:
        """Ask for "stop", "save" or "sample"; a process that has ended hears nothing."""
        self.write({"command": command})

    def stop(self, grace: float) -> None:
        """Ask for a stop and wait; after so many seconds kill."""
        self.send("stop")
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process at once; checkpoints that were saved stay."""
        if self.returncode is None:
            self.killed = True
            kill_group(self.process)
        self.process.wait()

    def write(self, message: Mapping[str, Any]) -> None:
        """Send a line; if the process has gone, its last event tells why."""
        assert self.process.stdin is not None
        line = json.dumps(message).encode() + b"\n"
        with self.writing, suppress(OSError):
            while line:
                line = line[os.write(self.process.stdin.fileno(), line) :]

    def pump(self) -> None:
        """Pass events on as they are printed; the last one when the process has ended."""
        last: Event | None = None
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
        """Events from the worker; whatever else it prints goes to the log."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                yield from_line(line)
            except (ValueError, TypeError, AttributeError):  # JSON perhaps, but no event
                with suppress(OSError):  # a full disk is no reason to hear no more
                    append_lines(self.run.log, line)

    def wait_for_end(self) -> None:
        try:
            self.process.wait(EXIT_GRACE_SEC)
        except subprocess.TimeoutExpired:
            self.kill()

    def crash(self) -> Failed:
        """What to tell of a process that ended without a last event; kept with the run's events."""
        if self.killed:
            failed = Failed("killed", "The worker was ended.", RESUME, str(self.run.log))
        else:
            failed = crash_event(self.process.wait(), self.run.log)
        with suppress(OSError):  # perhaps the disk is full; whoever listens is told in any case
            append_lines(self.run.events, to_line(failed) + "\n")
        return failed

    def tidy(self, last: Event) -> None:
        """Leave nothing of a new run whose settings were refused."""
        if self.new and isinstance(last, Failed) and last.code == "config":
            self.run.discard()


def start(command: list[str], log: BinaryIO) -> subprocess.Popen[str]:
    """Start the worker in a process group of its own: the host's Ctrl-C is not the worker's."""
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
    with suppress(ProcessLookupError):  # it ended by itself just now
        os.killpg(process.pid, signal.SIGKILL)
