"""The one job that may run, and all that the page asks of it; outlives the host's "Reload UI"."""

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
from ..trainer.runs.wording import SAVING, end_text, progress_text, warning_text
from ..trainer.runs.worker import Worker

Kind = Literal["train", "class_images", "compare"]
STOP_SEC = 600  # a stop saves first; a worker that takes longer is killed
NOTHING_YET = "Stopping before training starts; waiting for the current task to end …"
RESUME = "Resume it under Earlier runs."
DONE: dict[Kind, str] = {  # what to do with the result
    "train": "",
    "class_images": "Trainings with the same settings will use these class images.",
    "compare": "The images before and after are under Earlier runs.",
}
MAX_POINTS = 300  # of the loss curve


class Host(Protocol):
    """What a job needs of the host."""

    def device(self, job: Job) -> AbstractContextManager[None]:
        """Take the GPU from the host when its present image is done, and give it back."""
        ...

    def refresh(self) -> None:
        """Let the host see new LoRA files."""
        ...


class Job:
    """One job of the worker, and how far it is.

    Args:
        name: of the run, or what is made.
        order: what the worker is told to do.
    """

    def __init__(self, kind: Kind, name: str, order: orders.Order) -> None:
        self.kind: Kind = kind
        self.name, self.order = name, order
        self.began = time.time()
        self.text = "Starting …"
        self.heard = View()
        self.last: Last | None = None
        self.stopping = False
        self.has_device = False
        self.worker: Worker | None = None
        self.lock = threading.Lock()

    def tell(self, text: str) -> None:
        """Say what is being done."""
        if not self.stopping:
            self.text = text

    def stop(self) -> None:
        """Save and end; a job that has not begun ends at once."""
        with self.lock:
            self.stopping = True
            worker = self.worker
        self.text = NOTHING_YET if worker is None else SAVING
        if worker is not None:
            worker.send(orders.Stop())
            timer = threading.Timer(STOP_SEC, worker.kill)
            timer.daemon = True
            timer.start()

    def follow(self) -> Last:
        """Do the job in the worker; returns its last event."""
        with self.lock:
            if self.stopping:
                return events.Stopped(0, "", "", resumable=False)
            self.worker = worker = Worker(self.order)
        try:
            for event in worker.events():
                self.hear(event)
        finally:
            worker.stop(STOP_SEC)  # it has ended, unless hearing it failed
        assert self.heard.end is not None  # a worker always has a last event
        return self.heard.end

    def hear(self, event: events.Event) -> None:
        """Take in an event."""
        self.heard.hear(event)
        self.text = SAVING if self.stopping else self.heard.stage

    def view(self) -> dict[str, Any]:
        """Returns all that the page shows, as JSON."""
        heard = self.heard  # grows in another thread meanwhile
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
            "samples": [sample_view(sample) for sample in list(heard.samples.values())],
            "warnings": [warning_text(warning) for warning in list(heard.warnings.values())],
            "end": None if self.last is None else end_view(self.last, self.kind),
        }


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns at most MAX_POINTS points, each the mean of a few."""
    size = -(-len(points) // MAX_POINTS) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], round(fmean(loss for _, loss in part), 5)) for part in parts]


def sample_view(sample: events.Sample) -> dict[str, Any]:
    return {"id": Path(sample.path).stem, "step": sample.step, "prompt": sample.prompt}


def end_view(last: Last, kind: Kind) -> dict[str, Any]:
    """Returns how it ended: state, text, and whether there is a LoRA to use."""
    done = isinstance(last, events.Finished)
    text = end_text(last, resume=RESUME if kind == "train" else "")
    return {
        "state": last.name,
        "text": f"{text} {DONE[kind]}".strip() if done else text,
        "lora": done and last.result_kind == "lora",
    }


class Jobs:
    """The job that runs, or ran last; never two at once."""

    def __init__(self) -> None:
        self.current: Job | None = None
        self.lock = threading.Lock()

    @property
    def running(self) -> Job | None:
        """The job that has not ended, if there is one."""
        job = self.current
        return job if job is not None and job.last is None else None

    def start(self, make_job: Callable[[], Job], host: Host) -> None:
        """Begin a job in a thread, and return.

        Args:
            make_job: called where no other job runs, and not by two windows at once; what it
                makes or removes on the disk is then for a job that begins.

        Raises:
            ConfigError: another job runs, or what `make_job` refuses.
        """
        with self.lock:
            if self.running:
                hint = "Wait until it ends, or stop it first."
                raise ConfigError(f"“{self.running.name}” is already running.", hint)
            self.current = job = make_job()
        threading.Thread(target=do, args=(job, host), name="dreambooth-job", daemon=True).start()


def do(job: Job, host: Host) -> None:
    """Do a job from beginning to end; whatever happens, it has a last event then."""
    last: Last | None = None
    try:
        if not environment.is_ready():
            environment.build(job.tell)
        with host.device(job):
            last = job.follow()
        host.refresh()
    except ConfigError as error:
        last = events.Failed("config", error.message, error.hint, "")
    except Exception as error:  # the thread's edge: the page must hear of it
        traceback.print_exc()
        hint = "This is a bug. Please report it with the host's console output."
        last = last or events.Failed("internal", f"{type(error).__name__}: {error}", hint, "")
    finally:
        forget_unbegun(job)
        job.last = last or events.Failed("internal", "The job was lost.", "", "")


def forget_unbegun(job: Job) -> None:
    """Remove what is left of a training that never began."""
    run = Run(Path(job.order.run))
    if job.kind == "train" and not run.config.exists():
        run.discard()


JOBS = Jobs()
