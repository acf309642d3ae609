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
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .environment import check_ready, worker_command, worker_env
from .events import LAST, Event, Failed, from_line, to_line

EXIT_GRACE_SEC = 60  # from the last event to the end of the process, which frees the GPU
REPLACE_TRIES, REPLACE_PAUSE_SEC = 10, 0.1
CREATION_FLAGS = 0
if sys.platform == "win32":
    CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
LOG_LINES, LOG_TAIL_CHARACTERS = 5, 2000
RESUME = "Resume goes on from the run's last checkpoint."
SEE_LOG = f"If the log does not say what to mend, report it as a bug. {RESUME}"
OUT_OF_MEMORY = (
    "Most likely the computer's memory was full: close other programs, or lower resolution, "
    f"train_batch_size or rank. {RESUME}"
)


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
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def cache(self) -> Path:
        """What runs share: latents, embeddings and class images, beside the runs."""
        return self.folder.parent / "cache"

    def create(self, config: str) -> None:
        """Make the folder and write the config's JSON text."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.config, config)

    def remove(self) -> None:
        """Delete the folder with all that is in it, if it is there."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8."""
    partial = path.with_name(f".{os.urandom(6).hex()}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Rename over an existing file; on Windows a reader can forbid that for a moment."""
    for _ in range(REPLACE_TRIES - 1):
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(REPLACE_PAUSE_SEC)
        else:
            return
    source.replace(target)


def unique_path(folder: Path, stem: str, suffix: str) -> Path:
    """The first of stem, stem_2, stem_3, ... that does not exist; `suffix` has its dot."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}_{number}{suffix}"
    return path


class Worker:
    """A job in a process of its own.

    The last event comes when the process has ended and its memory is free again.

    Args:
        job: {"command": ..., "run": folder, ...}, the worker's first line of input; its paths are
            absolute, or relative to the host's current folder.

    Raises:
        ConfigError: the environment is not installed.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        check_ready()
        self.run = Run(Path(job["run"]))
        self.new = not self.run.folder.exists()
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
                with self.run.log.open("a", encoding="utf-8") as log:
                    log.write(line)

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
        with self.run.events.open("a", encoding="utf-8") as events:
            events.write(to_line(failed) + "\n")
        return failed

    def tidy(self, last: Event) -> None:
        """Leave nothing of a new run whose settings were refused."""
        if self.new and isinstance(last, Failed) and last.code == "config":
            self.run.remove()


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


def crash_event(code: int, log: Path) -> Failed:
    """Explain an exit code, with the last lines of the log."""
    name = exit_name(code)
    message = f"The worker ended without a result ({name}). {log_end(log)}".strip()
    hint = OUT_OF_MEMORY if name == "SIGKILL" else SEE_LOG
    return Failed("crashed", message, hint, str(log))


def exit_name(code: int) -> str:
    """The signal that ended a process, or its exit code; Windows' own codes as they are known."""
    if code < 0 and -code in set(signal.Signals):
        return signal.Signals(-code).name
    return f"exit code {code & 0xFFFFFFFF:#x}" if code > 0xFFFF else f"exit code {code}"


def log_end(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:].splitlines()
    return "\n".join([line for line in lines if line.strip()][-LOG_LINES:])
