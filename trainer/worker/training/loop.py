"""The training loop: from a checked config to the finished file, on one page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...photos.pictures import save_picture
from ...runs.control import Stop
from ...runs.events import Event, Finished, Progress, Stopped
from ...runs.report import write_report
from ..device.memory import peak_gib
from .job import Job
from .setup import set_up
from .superseded import remove_stopped_results
from .training import Training
from .update import Losses

__all__ = ["train"]

RATE_WINDOW = 20  # updates over which the shown speed is averaged


def train(job: Job) -> Event:
    """Fine-tune and save the result; returns the last event.

    Raises:
        ConfigError: the user can fix it; nothing was trained.
        OSError: a file could not be written, as on a full disk; the last good state stays.
        Halted: memory is full, or the loss is NaN or infinite; the last checkpoint stays.
        Stop: a stop was asked for before the first step.
    """
    began = time.monotonic()
    config, control = job.config, job.control
    max_train_steps = config.training.max_train_steps

    # Load and check everything; resume where the newest checkpoint ends, else start at step 0.
    training = set_up(job)
    step = training.saved_step
    if step == 0 and training.stop_is_wanted():
        raise Stop  # there is nothing to save yet
    job.report(training.started_event())

    # The samples of step 0 show what the base makes of the same prompts and seeds.
    if step == 0 and config.samples.sample_every is not None:
        training.sample(step)
        if training.stop_is_wanted():
            raise Stop
    speed = Speed()

    while step < max_train_steps and not training.stop_is_wanted():
        # One optimizer update: forward and backward passes, clipping, AdamW. A stop in the middle
        # of its passes leaves the step before.
        try:
            losses = training.update(step + 1)
        except Stop:
            if step == 0:
                raise
            break
        step += 1

        # Report, then save and sample where that is due or was asked for. A checkpoint comes
        # before samples, so that whatever happens to those, this step is not lost.
        with state_kept(training, step):
            device = training.model.device
            job.report(speed.progress(step, max_train_steps, losses, device))
            wants_sample = due(step, config.samples.sample_every) or control.take(control.sample)
            if due(step, config.result.save_every) or control.take(control.save):
                training.save_state(step)
            if wants_sample and step < max_train_steps:  # the last step's come after the loop
                training.sample(step)

    # Keep the final state, then write the result: of a stopped run under a name with its step.
    with state_kept(training, step):
        training.save_state(step)
    path, kind = training.save_result(step)
    if step < max_train_steps:
        training.show_last_sample(path)
        stopped = Stopped(step, str(path), kind, resumable=True)
        report_on(training, stopped)
        training.accelerator.wait_for_everyone()  # launchers end all soon after the first has ended
        return stopped

    # The last samples show the finished result; the first becomes its preview.
    preview = training.sample(step)
    if preview is not None:
        save_picture(path.with_suffix(".png"), preview)
    if training.is_main_process:
        remove_stopped_results(job.run, config)
    finished = Finished(step, str(path), kind, time.monotonic() - began)
    report_on(training, finished)
    return finished


def report_on(training: Training, last: Event) -> None:
    if training.is_main_process:
        write_report(training.job.run, training.config, last, photos=training.thumbnails)


@contextmanager
def state_kept(training: Training, step: int) -> Iterator[None]:
    """Keep the state of a step after which some file could not be written."""
    try:
        yield
    except OSError:
        training.rescue_state(step)
        raise


def due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


class Speed:
    """The rate of updates over the last few, and the time that is left."""

    def __init__(self) -> None:
        self.times = deque([time.monotonic()], maxlen=RATE_WINDOW + 1)

    def progress(
        self, step: int, max_train_steps: int, losses: Losses, device: torch.device
    ) -> Progress:
        """Return the report on a step that has just been done."""
        self.times.append(time.monotonic())
        rate = (len(self.times) - 1) / max(self.times[-1] - self.times[0], 1e-9)
        return Progress(
            step=step,
            max_train_steps=max_train_steps,
            loss=losses.loss,
            instance_loss=losses.instance,
            prior_loss=losses.prior,
            learning_rate=losses.learning_rate,
            steps_per_sec=rate,
            eta_sec=(max_train_steps - step) / rate,
            peak_memory_gib=peak_gib(device),
        )
