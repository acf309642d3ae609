"""The training: from a checked config to a LoRA file."""

from __future__ import annotations

import time
from collections import deque

import torch

from ..events import (
    Event,
    Finished,
    Progress,
    Stopped,
)
from .class_images import save_picture
from .device import DTYPES, make_accelerator
from .memory import peak_gib
from .prepare import (
    Parts,
    Sources,
    check_sources,
    check_writable,
    encode_table,
    prepare,
)
from .training import Job, Losses, Training, sample_prompts

RATE_WINDOW = 20  # updates over which the shown speed is averaged


def train(job: Job) -> Event:
    """Fine-tune and save the LoRA; gives the last event.

    Raises:
        ConfigError: the user can mend it; nothing was trained.
        Diverged: the loss is no number; the last checkpoint stays.
        Stop: a stop was asked for before the first step.
    """
    began = time.monotonic()
    max_train_steps, samples = job.config.training.max_train_steps, job.config.samples
    training = set_up(job)
    step = training.start_step
    if step == 0:
        job.control.check()  # there is nothing to save yet
    job.report(training.started_event())
    speed = Speed()
    while step < max_train_steps and not training.stop_is_wanted():
        step += 1
        losses = training.update(step)
        job.report(speed.progress(step, max_train_steps, losses, training.device))
        wanted = due(step, samples.sample_every) or job.control.take(job.control.sample)
        if due(step, job.config.result.save_every) or job.control.take(job.control.save):
            training.save_state(step)
        if wanted and step < max_train_steps:  # the last step's samples come after the loop
            training.sample(step)
    training.save_state(step)
    lora_path = training.save_lora(step)
    if step < max_train_steps:
        return Stopped(step, str(lora_path), resumable=True)
    preview = training.sample(step)
    if preview is not None:
        save_picture(lora_path.with_suffix(".png"), preview)
    return Finished(step, str(lora_path), time.monotonic() - began)


def due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def set_up(job: Job) -> Training:
    """Check, prepare and load everything up to the first step."""
    check_writable(job.run.folder.parent, "run folder")
    sources = check_sources(job.config)
    training = job.config.training
    accelerator = make_accelerator(training.mixed_precision, training.gradient_accumulation_steps)
    if accelerator.is_main_process and not job.run.config.exists():
        job.run.create(job.config.to_json())
    for warning in sources.warnings:
        job.report(warning)
    dtype = DTYPES[accelerator.mixed_precision]
    parts = Parts(sources.base, accelerator.device, dtype, job.report)
    prompts = encode_table(parts, all_prompts(sources))
    parts.release("text encoder")
    with accelerator.main_process_first():  # the others then find its class images and latents
        data, inputs = prepare(sources, parts, prompts, job.run.cache, job.control)
    prepared = Training(job, accelerator, parts, prompts, data, inputs)
    if accelerator.is_main_process:
        job.run.create(job.config.to_json())  # a refused resume leaves the old one
    return prepared


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
