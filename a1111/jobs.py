"""The one job that may run, and all that the page asks of it; outlives the host's "Reload UI"."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, Protocol

from ..trainer.environment import environment
from ..trainer.errors import ConfigError
from ..trainer.runs import events
from ..trainer.runs.run import Run, Worker

Kind = Literal["train", "class_images", "compare"]
STOP_SEC = 600  # a stop saves first; a worker that takes longer is ended
SAVING = "Stopping: saving what is trained so far …"
NOTHING_YET = "Stopping: what is being done ends first, and then nothing is trained …"
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
        order: the worker's first line of input.
    """

    def __init__(self, kind: Kind, name: str, order: Mapping[str, Any]) -> None:
        self.kind: Kind = kind
        self.name, self.order = name, order
        self.began = time.time()
        self.text = "Starting …"
        self.done, self.total = 0, 0
        self.progress: events.Progress | None = None
        self.losses: list[tuple[int, float]] = []
        self.samples: list[events.Sample] = []
        self.warnings: list[events.Warning] = []
        self.last: events.Event | None = None
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
            worker.send("stop")
            timer = threading.Timer(STOP_SEC, worker.kill)
            timer.daemon = True
            timer.start()

    def follow(self) -> events.Event:
        """Do the job in the worker; gives its last event."""
        with self.lock:
            if self.stopping:
                return events.Stopped(0, "", "", resumable=False)
            self.worker = worker = Worker(self.order)
        last: events.Event | None = None
        try:
            for event in worker.events():
                self.hear(event)
                last = event
        finally:
            worker.stop(STOP_SEC)  # it has ended, unless hearing it failed
        assert last is not None  # a worker always has a last event
        return last

    def hear(self, event: events.Event) -> None:
        """Take in an event."""
        if isinstance(event, events.Progress):
            self.progress = event
            self.losses.append((event.step, event.loss))
            self.done, self.total = event.step, event.max_train_steps
            self.text = "Training"
        elif isinstance(event, events.Status):
            self.text = event.message or event.stage.replace("_", " ").capitalize()
            self.done, self.total = event.done, event.total
        elif isinstance(event, events.Sample):
            self.samples.append(event)
        elif isinstance(event, events.Warning):
            self.warnings.append(event)
        if self.stopping:
            self.text = SAVING

    def view(self) -> dict[str, Any]:
        """All that the page shows, as JSON."""
        return {
            "id": self.began,
            "kind": self.kind,
            "name": self.name,
            "text": self.text,
            "done": self.done,
            "total": self.total,
            "stopping": self.stopping,
            "progress": progress_text(self.progress),
            "losses": thinned(self.losses),
            "samples": [sample_view(sample) for sample in self.samples],
            "warnings": [f"{note.message} {note.hint}" for note in self.warnings],
            "end": None if self.last is None else end_view(self.last, self.kind),
        }


def progress_text(event: events.Progress | None) -> str:
    if event is None:
        return ""
    minutes, seconds = divmod(round(event.eta_sec), 60)
    rate = event.steps_per_sec
    speed = f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/step"
    return (
        f"Step {event.step} of {event.max_train_steps} · loss {event.loss:.3f} · {speed} · "
        f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left · "
        f"{event.peak_memory_gib:.1f} GiB of memory"
    )


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MAX_POINTS points: the mean of every few."""
    size = -(-len(points) // MAX_POINTS) or 1
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], round(fmean(loss for _, loss in part), 5)) for part in parts]


def sample_view(sample: events.Sample) -> dict[str, Any]:
    return {"id": Path(sample.path).stem, "step": sample.step, "prompt": sample.prompt}


def end_view(last: events.Event, kind: Kind) -> dict[str, Any]:
    """How it ended: state and text."""
    if isinstance(last, events.Failed):
        log = f" Log: {last.log_path}" if last.log_path else ""
        return {"state": "failed", "text": f"{last.message} {last.hint}{log}"}
    if isinstance(last, events.Stopped):
        kept = f" at step {last.step}, saved as {Path(last.result_path).stem}" * bool(
            last.result_path
        )
        later = " Resume it below, among the earlier runs." * (kind == "train" and last.resumable)
        return {"state": "stopped", "text": f"Stopped{kept}.{later}"}
    assert isinstance(last, events.Finished)
    texts: dict[Kind, str] = {
        "train": f"Done: {Path(last.result_path).stem} is among your LoRAs.",
        "class_images": "The class images are ready; trainings with the same settings use them.",
        "compare": "The pictures before and after are ready.",
    }
    return {"state": "finished", "text": texts[kind]}


class Jobs:
    """The job that runs, or ran last; never two at once."""

    def __init__(self) -> None:
        self.current: Job | None = None
        self.lock = threading.Lock()

    @property
    def running(self) -> Job | None:
        """The job that has not ended."""
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
                hint = "Wait for its end, or stop it first."
                raise ConfigError(f"“{self.running.name}” is running already.", hint)
            self.current = job = make_job()
        threading.Thread(target=do, args=(job, host), name="dreambooth-job", daemon=True).start()


def do(job: Job, host: Host) -> None:
    """Do a job from beginning to end; whatever happens, it has a last event then."""
    last: events.Event | None = None
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
        hint = "This is a bug; please report it with the host's console."
        last = last or events.Failed("internal", f"{type(error).__name__}: {error}", hint, "")
    finally:
        forget_unbegun(job)
        job.last = last or events.Failed("internal", "The job was lost.", "", "")


def forget_unbegun(job: Job) -> None:
    """Leave nothing of a training that never began."""
    run = Run(Path(job.order["run"]))
    if job.kind == "train" and not run.config.exists():
        run.discard()


JOBS = Jobs()
