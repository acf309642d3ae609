"""Samples single images with ComfyUI's own sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management as mm
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy_api.latest import io
from torch import Tensor

from .base import Wires
from .fields import check_choice

__all__ = ["Drawer", "Sampler", "sampler_inputs"]

LATENT_SCALE = 8  # pixels per latent


@dataclass(frozen=True)
class Sampler:
    """Settings for one of ComfyUI's samplers.

    Args:
        width: in pixels, like `height`.
    """

    sampler_name: str
    scheduler: str
    steps: int
    cfg: float
    width: int
    height: int

    def __post_init__(self) -> None:
        kinds = comfy.samplers.KSampler
        check_choice("sampler_name", self.sampler_name, kinds.SAMPLERS)
        check_choice("scheduler", self.scheduler, kinds.SCHEDULERS)


def sampler_inputs() -> list[Any]:
    """Return the inputs for sampler and scheduler, as in ComfyUI's own nodes."""
    kinds = comfy.samplers.KSampler
    return [
        io.Combo.Input(
            "sampler_name",
            options=kinds.SAMPLERS,
            default="dpmpp_2m",
            tooltip="Sampling algorithm.",
        ),
        io.Combo.Input(
            "scheduler",
            options=kinds.SCHEDULERS,
            default="karras",
            tooltip="Noise schedule of the sampler.",
        ),
    ]


class Drawer:
    """Samples one image at a time, with one progress bar for all of them.

    Args:
        total: number of images that will be sampled.
    """

    def __init__(self, wires: Wires, sampler: Sampler, total: int) -> None:
        self.wires, self.sampler = wires, sampler
        self.drawn = 0
        self.bar = comfy.utils.ProgressBar(total * sampler.steps)
        model = wires.model
        self.previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

    def encode(self, prompt: str) -> Any:
        """Return a prompt's conditioning, with the image size for SDXL."""
        size = {"width": self.sampler.width, "height": self.sampler.height}
        target = {f"target_{side}": value for side, value in size.items()}
        clip = self.wires.clip
        return clip.encode_from_tokens_scheduled(
            clip.tokenize(prompt), add_dict={**size, **target, "crop_w": 0, "crop_h": 0}
        )

    def draw(self, positive: Any, negative: Any, seed: int) -> Tensor:
        """Sample one image (1, H, W, 3), independent of all others.

        Raises:
            InterruptProcessingException: the user canceled.
        """
        model, settings = self.wires.model, self.sampler
        shape = (1, 4, settings.height // LATENT_SCALE, settings.width // LATENT_SCALE)
        empty = torch.zeros(shape, device=mm.intermediate_device())
        latents = comfy.sample.fix_empty_latent_channels(model, empty)  # (1, C, h, w)
        latents = comfy.sample.sample(
            model,
            comfy.sample.prepare_noise(latents, seed),
            settings.steps,
            settings.cfg,
            settings.sampler_name,
            settings.scheduler,
            positive,
            negative,
            latents,
            callback=self.callback(),
            disable_pbar=True,
            seed=seed,
        )
        self.drawn += 1
        return self.wires.vae.decode(latents).cpu()

    def callback(self) -> Callable[[int, Tensor, Tensor, int], None]:
        """Return a sampler callback that shows progress and previews for the next image."""
        done, total = self.drawn * self.sampler.steps, self.bar.total

        def show(step: int, x0: Tensor, _x: Tensor, _steps: int) -> None:
            preview = None
            if self.previewer is not None:
                preview = self.previewer.decode_latent_to_preview_image("JPEG", x0)
            self.bar.update_absolute(done + step + 1, total, preview)

        return show
