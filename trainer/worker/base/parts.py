"""The base's parts on the device, each loaded on first use and released when no longer needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from ...config.model import ModelConfig
from ...errors import ConfigError
from ...runs.control import Report
from ...runs.events import Status, Warning
from ..device.device import DTYPES, device_warnings, make_accelerator
from ..device.memory import OutOfMemory, free_memory, shortage
from . import models
from .latents import encode_image
from .models import BaseModel

__all__ = ["Parts", "open_parts"]

RELOADED = "It is reloaded later, with the same result."


@dataclass
class Parts:
    """The base's parts by name; a job loads only those it needs.

    Args:
        dtype: in which the job computes.
        unet_dtype: in which the U-Net is loaded, if in another.
    """

    base: BaseModel
    device: torch.device
    dtype: torch.dtype
    report: Report
    unet_dtype: torch.dtype | None = None
    loaded: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, load: Callable[[], Any]) -> Any:
        """Return a part, loading it on first use."""
        if name not in self.loaded:
            self.report(Status("loading", message=f"Loading the {name}"))
            self.tidy()  # or its weights would fragment the memory that other parts left
            self.loaded[name] = load()
        return self.loaded[name]

    @property
    def unet(self) -> Any:
        """Return the U-Net, on the device."""
        return self.get(
            "U-Net",
            lambda: models.load_unet(self.base, self.unet_dtype or self.dtype).to(self.device),  # pyright: ignore
        )

    @property
    def vae(self) -> Any:
        """Return the VAE in float32, on the device."""
        return self.get("VAE", lambda: models.load_vae(self.base)).to(self.device)

    @property
    def text_encoders(self) -> list[nn.Module]:
        """Return the frozen text encoders in float32, on the device."""
        return self.get("text encoder", lambda: self.load_text_encoders(torch.float32))

    def load_text_encoders(self, dtype: torch.dtype) -> list[Any]:
        """Load separate text encoders for training, which are not shared with `text_encoders`."""
        encoders = models.load_text_encoders(self.base, dtype)
        return [encoder.to(self.device) for encoder in encoders]  # pyright: ignore

    @cached_property
    def noise_scheduler(self) -> DDPMScheduler:
        """Return the noise schedule that the base was trained with."""
        return models.load_noise_scheduler(self.base)

    def tidy(self) -> None:
        """Free unused GPU memory; the CPU's is freed automatically."""
        if self.device.type != "cpu":
            free_memory()

    def put_vae_away(self) -> None:
        """Move the VAE out of GPU memory, and free its temporary tensors."""
        if "VAE" in self.loaded:
            self.loaded["VAE"].to("cpu")
        self.tidy()

    def encode(self, pixels: np.ndarray, name: str) -> Tensor:
        """Return the latents (2, C, h, w) of a photo's pixels (H, W, 3): their mean and spread.

        If memory runs out, the U-Net is unloaded and the photo encoded again.

        Raises:
            ConfigError: the VAE produces NaN or infinite values.
        """
        found: list[Tensor] = []
        missing = shortage(lambda: found.append(encode_image(self.vae, pixels)))
        if missing is not None:
            if "U-Net" not in self.loaded:
                raise OutOfMemory(missing, "Lower the resolution, or close other programs.")
            message = f"{missing} Unloading the U-Net to free memory."
            self.report(Warning("out_of_memory", message, RELOADED))
            self.release("U-Net")
            found.append(encode_image(self.vae, pixels))
        if not torch.isfinite(found[0]).all():
            raise ConfigError(
                f"VAE {self.base.vae_path or self.base.path} produced NaN for {name}.",
                "Set `vae` to another file (for SDXL: an fp16-safe one).",
            )
        return found[0]

    def release(self, name: str) -> None:
        """Free one part's memory."""
        self.loaded.pop(name, None)
        self.tidy()


def open_parts(model: ModelConfig, mixed_precision: str, report: Report) -> Parts:
    """Open a base on this machine's device, for jobs that sample but do not train."""
    base = models.open_base(model)
    accelerator = make_accelerator(mixed_precision)
    for warning in device_warnings(accelerator):
        report(warning)
    return Parts(base, accelerator.device, DTYPES[accelerator.mixed_precision], report)
