"""The GPU goes from the host to the trainer and back; meanwhile the host generates no images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from modules import devices, scripts, sd_models, ui_extra_networks
from modules.call_queue import queue_lock

from .jobs import JOBS, Job

POLL_SEC = 0.2


class WebUI:
    """A1111 or Forge as a job needs it."""

    @contextmanager
    def device(self, job: Job) -> Iterator[None]:
        """Unload the host's model when its current image is done, and bring it back."""
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
        """Let the host's Lora page read its folder again."""
        for page in ui_extra_networks.extra_pages:
            if page.name == "lora":
                page.refresh()


def lock_host(job: Job) -> bool:
    """Wait for the host's current image; False if a stop was requested meanwhile."""
    while not queue_lock.acquire(blocking=False):
        job.tell("Waiting for the current image generation to finish")
        if job.stopping:
            return False
        time.sleep(POLL_SEC)
    return True


def unload() -> None:
    """Free the GPU; `shared.sd_model` would load a model first."""
    if model := sd_models.model_data.sd_model:
        sd_models.unload_model_weights(model)
    devices.torch_gc()


def restore() -> None:
    """Bring the host's model back; Forge does that by itself."""
    if model := sd_models.model_data.sd_model:
        sd_models.send_model_to_device(model)


def device_taken() -> bool:
    """Whether the trainer has the GPU."""
    return JOBS.running is not None and JOBS.running.has_device


def model_loaded(_model: Any) -> None:
    """Whoever chooses another checkpoint while the trainer has the GPU: it waits in memory."""
    if device_taken():
        unload()


class Training(RuntimeError):
    """Why the host generates no images now."""


class Guard(scripts.Script):
    """Refuses to generate images while the trainer has the GPU."""

    def title(self) -> str:
        return "DreamBooth"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def before_process(self, p: Any, *_args: Any) -> None:
        """Let generation fail at its first use of the model; the host hides errors raised here."""
        if device_taken():
            p.init = refuse


def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
    job = JOBS.running
    state = f" ({job.heard.done} of {job.heard.total})" if job and job.heard.total else ""
    raise Training(
        f"DreamBooth is using the GPU{state}. Image generation is paused until training finishes. "
        "Click Stop on the DreamBooth tab to end now and keep progress."
    )
