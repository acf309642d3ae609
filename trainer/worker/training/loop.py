"""The training: from a checked config to a LoRA file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from accelerate import Accelerator

from ...errors import ConfigError
from ...files.atomic import check_writable
from ...runs.control import Control, Stop
from ...runs.events import Event, Finished, Progress, Stopped
from ...runs.report import write_report
from ..device.device import DTYPES, any_process, device_warnings, make_accelerator
from ..device.memory import peak_gib
from ..drawing.class_images import save_picture
from .checkpoint import checkpoints
from .prepare import Parts, Sources, check_sources, encode_table, prepare
from .training import Job, Training, sample_prompts
from .update import Losses

RATE_WINDOW = 20  # updates over which the shown speed is averaged


def train(job: Job) -> Event:
    """Fine-tune and save the LoRA; gives the last event.

    Raises:
        ConfigError: the user can mend it; nothing was trained.
        OSError: a file could not be written, as on a full disk; the last good state stays.
        Diverged: the loss is no number; the last checkpoint stays.
        Stop: a stop was asked for before the first step.
    """
    began = time.monotonic()
    max_train_steps, samples = job.config.training.max_train_steps, job.config.samples
    training = set_up(job)
    step = training.start_step
    if step == 0 and training.stop_is_wanted():
        raise Stop  # there is nothing to save yet
    job.report(training.started_event())
    speed = Speed()
    while step < max_train_steps and not training.stop_is_wanted():
        losses = training.update(step + 1)
        step += 1
        with state_kept(training, step):
            job.report(speed.progress(step, max_train_steps, losses, training.device))
            wanted = due(step, samples.sample_every) or job.control.take(job.control.sample)
            if due(step, job.config.result.save_every) or job.control.take(job.control.save):
                training.save_state(step)
            if wanted and step < max_train_steps:  # the last step's samples come after the loop
                training.sample(step)
    with state_kept(training, step):
        training.save_state(step)
    result_path = training.save_lora(step)
    if step < max_train_steps:
        stopped = Stopped(step, str(result_path), "lora", resumable=True)
        report_on(training, stopped)
        training.accelerator.wait_for_everyone()  # launchers end all soon after the first has ended
        return stopped
    preview = training.sample(step)
    if preview is not None:
        save_picture(result_path.with_suffix(".png"), preview)
    finished = Finished(step, str(result_path), "lora", time.monotonic() - began)
    report_on(training, finished)
    return finished


def report_on(training: Training, last: Event) -> None:
    if training.accelerator.is_main_process:
        write_report(training.job.run, training.config, last)


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


def set_up(job: Job) -> Training:
    """Check, prepare and load everything up to the first step."""
    check_writable(job.run.folder, "run folder")
    check_writable(job.run.cache, "cache")
    sources = check_sources(job.config)
    training = job.config.training
    accelerator = make_accelerator(training.mixed_precision, training.gradient_accumulation_steps)
    if accelerator.is_main_process:
        begin(job)
    check_all(accelerator, job.control)
    for warning in [*device_warnings(accelerator), *sources.warnings]:
        job.report(warning)
    dtype = DTYPES[accelerator.mixed_precision]
    parts = Parts(sources.base, accelerator.device, dtype, job.report)
    prompts = encode_table(parts, all_prompts(sources))
    parts.release("text encoder")
    check_all(accelerator, job.control)
    found = None
    # The others then find the main process's class images and latents.
    with accelerator.main_process_first(), suppress(Stop):
        found = prepare(sources, parts, prompts, job.run.cache, job.control)
    check_all(accelerator, job.control)
    assert found is not None  # else this process was asked to stop
    prepared = Training(job, accelerator, parts, prompts, *found)
    if accelerator.is_main_process:
        prepared.check_space()
        job.run.create(job.config.to_json())  # a refused resume leaves the old one
    return prepared


def check_all(accelerator: Accelerator, control: Control) -> None:
    """Raise Stop in every process if one of them was asked to stop; none then waits for another."""
    if any_process(accelerator, control.stop.is_set()):
        raise Stop


def begin(job: Job) -> None:
    """Claim the run's folder, and keep the config of a new run.

    Raises:
        ConfigError: another process trains in it, or another training has been there.
    """
    job.run.claim(Path(job.config.result.output).parent)
    if not job.resume and checkpoints(job.run.checkpoints):
        raise ConfigError(
            f"The run {job.run.folder} has checkpoints of an earlier training.",
            "Resume it, or choose another run folder.",
        )
    if not job.run.config.exists():
        job.run.create(job.config.to_json())


def all_prompts(sources: Sources) -> list[str]:
    """Every prompt that is encoded by the frozen text encoders."""
    config = sources.config
    own = [photo.caption for photo in sources.photos]
    class_prompts = [config.prior.class_prompt, config.prior.class_negative_prompt]
    return own + class_prompts + sample_prompts(config) + [config.samples.sample_negative_prompt]


class Speed:
    """The rate of updates over the last few, and the time that is left."""

    def __init__(self) -> None:
        self.times = deque([time.monotonic()], maxlen=RATE_WINDOW + 1)

    def progress(
        self, step: int, max_train_steps: int, losses: Losses, device: torch.device
    ) -> Progress:
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
