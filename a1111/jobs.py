"""The current job and its state for the page; survives the host's "Reload UI"."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, Protocol

from ..trainer.environment import environment
from ..trainer.errors import ConfigError
from ..trainer.runs import events, orders
from ..trainer.runs.events import Last
from ..trainer.runs.run import Run
from ..trainer.runs.view import View
from ..trainer.runs.wording import SAVING, end_text, progress_text, rating_text, warning_text
from ..trainer.runs.worker import Worker
from .fields import labelled
from .sheet import job_sheet

__all__ = ["JOBS", "Host", "Job", "Jobs"]

Kind = Literal["train", "class_images", "compare", "identifiers"]
STOP_SEC = 600  # time to save when stopping; after that the worker is killed
NOTHING_YET = "Stopping before training starts; waiting for the current task to finish …"
RESUME = "Press Resume to continue."
DONE: dict[Kind, str] = {  # appended to the last message of a finished job
    "train": "",
    "class_images": "Training with the same settings will reuse these class images.",
    "compare": "",
    "identifiers": "Words with a weak prior are good identifiers.",
}
MAX_POINTS = 300  # of the loss curve


class Host(Protocol):
    """What a job needs from the host."""

    def device(self, job: Job) -> AbstractContextManager[None]:
        """Take the GPU once the host's current image is finished, and return it afterwards."""
        ...

    def refresh(self) -> None:
        """Make the host list new LoRAs and checkpoints."""
        ...


class Job:
    """One job of the worker, and its progress.

    Args:
        name: name of the run, or of what is generated.
        order: the order for the worker.
        heard: what a resumed run has reported before.
    """

    def __init__(
        self, kind: Kind, name: str, order: orders.Order, heard: View | None = None
    ) -> None:
        self.kind: Kind = kind
        self.name, self.order = name, order
        self.began = time.time()
        self.text = "Starting …"
        self.heard = heard or View()
        self.last: Last | None = None
        self.stopping = False
        self.has_device = False
        self.worker: Worker | None = None
        self.lock = threading.Lock()

    def report(self, text: str) -> None:
        """Show what is being done, unless the job is stopping."""
        if not self.stopping:
            self.text = text

    def stop(self) -> None:
        """Stop and save; a job that has not started ends immediately."""
        with self.lock:
            first, self.stopping = not self.stopping, True
            worker = self.worker
        self.text = NOTHING_YET if worker is None else SAVING
        if worker is not None and first:
            worker.send(orders.Stop())
            timer = threading.Timer(STOP_SEC, worker.kill)
            timer.daemon = True
            timer.start()

    def follow(self) -> Last:
        """Run the job in the worker; return its last event."""
        with self.lock:
            if self.stopping:
                return events.Stopped(0, "", "", resumable=False)
            self.worker = worker = Worker(self.order)
        try:
            for event in worker.events():
                self.hear(event)
        finally:
            worker.stop(STOP_SEC)  # already ended, unless handling an event failed
        assert self.heard.end is not None  # every worker sends a last event
        return self.heard.end

    def hear(self, event: events.Event) -> None:
        """Update the state from an event."""
        self.heard.hear(event)
        self.text = SAVING if self.stopping else self.heard.stage

    def view(self) -> dict[str, Any]:
        """Return everything that the page shows, as JSON."""
        heard = self.heard  # another thread updates it
        return {
            "id": self.began,
            "kind": self.kind,
            "name": self.name,
            "text": self.text,
            "done": heard.done,
            "total": heard.total,
            "stopping": self.stopping,
            "progress": progress_text(heard.progress) if heard.progress else "",
            "losses": thinned(heard.points("loss")),
            "sheet": job_sheet(list(heard.samples.values())),
            "warnings": [
                labelled(warning_text(warning)) for warning in list(heard.warnings.values())
            ],
            "ratings": [rating_text(rating) for rating in list(heard.ratings)],
            "end": None if self.last is None else end_view(self.last, self.kind),
        }


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return at most MAX_POINTS points by averaging neighbors."""
    size = -(-len(points) // MAX_POINTS) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], round(fmean(loss for _, loss in part), 5)) for part in parts]


def end_view(last: Last, kind: Kind) -> dict[str, Any]:
    """Return how a job ended: its state, and a text."""
    done = isinstance(last, events.Finished)
    text = end_text(last, resume=RESUME if kind == "train" else "")
    return {
        "state": last.name,
        "text": f"{text} {DONE[kind]}".strip() if done else labelled(text),
    }


class Jobs:
    """The running job or the last one; only one runs at a time."""

    def __init__(self) -> None:
        self.current: Job | None = None
        self.lock = threading.Lock()

    @property
    def running(self) -> Job | None:
        """The running job, if any."""
        job = self.current
        return job if job is not None and job.last is None else None

    def start(self, make_job: Callable[[], Job], host: Host) -> None:
        """Start a job in a thread and return.

        Args:
            make_job: called only when no other job is running, and never twice at once, so it may
                create and delete files for the job.

        Raises:
            ConfigError: another job is running, or `make_job` raised it.
        """
        with self.lock:
            if self.running:
                hint = "Wait until it finishes, or stop it."
                raise ConfigError(f"“{self.running.name}” is already running.", hint)
            self.current = job = make_job()
        threading.Thread(target=do, args=(job, host), name="dreambooth-job", daemon=True).start()


def do(job: Job, host: Host) -> None:
    """Run a job; whatever happens, it ends with a last event."""
    last: Last | None = None
    try:
        if not environment.is_ready():
            environment.build(job.report)
        with host.device(job):
            last = job.follow()
        host.refresh()
    except ConfigError as error:
        last = events.Failed("config", error.message, error.hint, "")
    except Exception as error:  # the thread's edge: the error must reach the page
        traceback.print_exc()
        hint = "This is a bug. Please report it with the host's console output."
        last = last or events.Failed("internal", f"{type(error).__name__}: {error}", hint, "")
    finally:
        discard_unstarted(job)
        job.last = last or events.Failed("internal", "The job was lost.", "", "")


def discard_unstarted(job: Job) -> None:
    """Remove the folder of a training that never started."""
    run = Run(Path(job.order.run))
    if job.kind == "train" and not run.config.exists():
        run.discard()


JOBS = Jobs()
