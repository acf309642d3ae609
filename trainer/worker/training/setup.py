"""From a job to a training that is ready for its first step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...files.atomic import check_writable
from ...runs.control import Control, Stop
from ...runs.events import Status
from ..base.parts import Parts
from ..base.prompts import PromptTable, encode_table
from ..data.inputs import description
from ..device.device import DTYPES, any_process, device_warnings, make_accelerator
from ..memory.stepdown import StepMemory
from ..trainable.choice import make_trained, weights_dtype
from ..trainable.model import ModelInTraining
from .checkpoint import checkpoints
from .divergence import LossWatch
from .job import Job
from .optimizer_kinds import require_optimizer
from .optimizers import Optimizer
from .prepare import Sources, check_sources, prepare
from .training import Training
from .update import Updater

__all__ = ["set_up"]


def set_up(job: Job) -> Training:
    """Check, prepare and load everything up to the first step.

    Raises:
        ConfigError: something cannot be used; nothing was trained.
        Stop: a stop was asked for meanwhile.
    """
    check_writable(job.run.folder, "run folder")
    check_writable(job.run.cache, "cache")
    settings = job.config.training
    require_optimizer(settings)
    sources = None
    with suppress(Stop):
        sources = check_sources(job.config, partial(reading, job))
    accelerator = make_accelerator(settings.mixed_precision, settings.gradient_accumulation_steps)
    check_all(accelerator, job.control)
    assert sources is not None  # else this process was asked to stop
    job = replace(job, config=sources.config)  # with what follows from the base
    if accelerator.is_main_process:
        claim_run(job)
    check_all(accelerator, job.control)
    for warning in [*device_warnings(accelerator), *sources.warnings]:
        job.report(warning)
    training = load(job, sources, accelerator)
    if job.resume:
        training.resume()
    if accelerator.is_main_process:
        training.check_space()
        job.run.create(job.config.to_json())  # a refused resume leaves the old one
    return training


def reading(job: Job, done: int, total: int) -> None:
    """Report how many photos were read; raises Stop where that was asked for."""
    job.control.check()
    job.report(Status("loading", done, total, "Reading photos"))


def claim_run(job: Job) -> None:
    """Claim the run's folder, and keep the config of a new run.

    Raises:
        ConfigError: another process trains in it, or it has checkpoints of another training.
    """
    job.run.claim(Path(job.config.result.output).parent)
    if not job.resume and checkpoints(job.run.checkpoints):
        raise ConfigError(
            f"The run {job.run.folder} has checkpoints of an earlier training.",
            "Resume it, or choose another run folder.",
        )
    if not job.run.config.exists():
        job.run.create(job.config.to_json())


def load(job: Job, sources: Sources, accelerator: Any) -> Training:
    """Encode prompts and photos, make class images, and put together what trains on them."""
    dtype = DTYPES[accelerator.mixed_precision]
    weights = weights_dtype(job.config.trained, dtype)
    parts = Parts(sources.base, accelerator.device, dtype, job.report, weights)
    prompts = found = None
    with suppress(Stop):
        prompts = encode_table(
            parts.base.family, parts.text_encoders, sources.prompts(), job.control.check
        )
    parts.release("text encoder")
    check_all(accelerator, job.control)
    assert prompts is not None  # else this process was asked to stop
    # The others then find the main process's class images and latents.
    with accelerator.main_process_first(), suppress(Stop):
        found = prepare(sources, parts, prompts, job.run.cache, job.control)
    check_all(accelerator, job.control)
    assert found is not None  # else this process was asked to stop
    concepts, inputs = found
    parts.put_vae_away()
    model, memory = load_model(job, parts, prompts, accelerator)
    optimizer = Optimizer(model.trained, job.config, accelerator)
    watch = LossWatch(dtype)
    check = job.control.check
    updater = Updater(job.config, accelerator, model, optimizer, concepts, memory, watch, check)
    described = description(job.config, inputs, accelerator.num_processes)
    return Training(job, parts, updater, described, sources.photos, sources.thumbnails)


def load_model(
    job: Job, parts: Parts, prompts: PromptTable, accelerator: Any
) -> tuple[ModelInTraining, StepMemory]:
    """Load the U-Net, and the text encoders if they are trained, with what is trained on them."""
    config, base = job.config, parts.base
    encoders: list[Any] = []
    if config.trained.train_text_encoder:
        encoders = parts.load_text_encoders(weights_dtype(config.trained, parts.dtype))
    trained = make_trained(base.family, parts.unet, encoders, config.trained)
    trained.initialize(config.training.seed)
    trained.to(accelerator.device)
    memory = StepMemory(config, parts.unet, accelerator, parts.dtype, job.report)
    # Several processes average their gradients in the updater, so that one that lacks memory
    # can tell the others; "evaluation" leaves out accelerate's own way, and nothing else.
    unet, *encoders = (
        accelerator.prepare_model(model, evaluation_mode=True) for model in (parts.unet, *encoders)
    )
    model = ModelInTraining(
        base.family, unet, encoders, prompts, parts.noise_scheduler, trained, accelerator.device
    )
    return model, memory


def check_all(accelerator: Any, control: Control) -> None:
    """Raise Stop in every process if one of them was asked to stop; none then waits for another."""
    if any_process(accelerator, control.stop.is_set()):
        raise Stop
