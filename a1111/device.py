"""Hands the GPU to the trainer and back; image generation is refused meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from modules import devices, scripts, sd_models, ui_extra_networks
from modules.call_queue import queue_lock

from .jobs import JOBS, Job

__all__ = ["Guard", "WebUI", "gpu_gib", "model_loaded"]

POLL_SEC = 0.2


class WebUI:
    """A1111 or Forge as the host of a job."""

    @contextmanager
    def device(self, job: Job) -> Iterator[None]:
        """Unload the host's model after its current image, and restore it when the job ends."""
        if not lock_host(job):
            yield
            return
        try:
            unload()
            job.has_device = True
        finally:
            queue_lock.release()
        try:
            yield
        finally:
            with queue_lock:
                restore()
                job.has_device = False

    def refresh(self) -> None:
        """Refresh the host's lists of LoRAs and checkpoints."""
        for page in ui_extra_networks.extra_pages:
            if page.name in ("lora", "checkpoints"):
                page.refresh()


def lock_host(job: Job) -> bool:
    """Wait for the current image, then lock the host; return False if a stop was requested."""
    while not queue_lock.acquire(blocking=False):
        job.report("Waiting for the current image generation to finish")
        if job.stopping:
            return False
        time.sleep(POLL_SEC)
    return True


def unload() -> None:
    """Free GPU memory; reading `shared.sd_model` instead could load a model."""
    if model := sd_models.model_data.sd_model:
        sd_models.unload_model_weights(model)
    devices.torch_gc()


def gpu_gib() -> float | None:
    """Return the GPU's memory in GiB once the host's model is unloaded; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    return (free + torch.cuda.memory_reserved()) / 1024**3


def restore() -> None:
    """Move the host's model back to the GPU; Forge does this itself."""
    if model := sd_models.model_data.sd_model:
        sd_models.send_model_to_device(model)


def device_taken() -> bool:
    """Return whether the trainer is using the GPU."""
    return JOBS.running is not None and JOBS.running.has_device


def model_loaded(_model: Any) -> None:
    """Move a checkpoint that is selected during training off the GPU."""
    if device_taken():
        unload()


class Training(RuntimeError):
    """Image generation was refused because the trainer is using the GPU."""


class Guard(scripts.Script):
    """Refuses image generation while the trainer is using the GPU."""

    def title(self) -> str:
        """Return the script's name."""
        return "DreamBooth"

    def show(self, is_img2img: bool) -> Any:
        """Return that the script runs with every image."""
        return scripts.AlwaysVisible

    def before_process(self, p: Any, *_args: Any) -> None:
        """Make generation fail when it first uses the model; the host hides errors raised here."""
        if device_taken():
            p.init = refuse


def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
    job = JOBS.running
    state = f" ({job.heard.done} of {job.heard.total})" if job and job.heard.total else ""
    raise Training(
        f"DreamBooth is using the GPU{state}. Image generation is paused until training finishes. "
        "Click Stop on the DreamBooth tab to end now and keep progress."
    )
