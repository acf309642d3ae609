"""The base's parts on the device, each loaded on first use and released when no longer needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
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
from .attention import choose_attention
from .finite import require_finite
from .latents import encode_image
from .models import BaseModel
from .norms import keep_format_in_norms
from .quantised import require_base_precision

__all__ = ["Parts", "open_parts"]

TITLES = {"unet": "U-Net", "vae": "VAE"}
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
    warned: list[Warning] = field(default_factory=list)

    def __post_init__(self) -> None:
        require_base_precision(self.base.base_precision, self.device, self.dtype)

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
        return self.get("U-Net", self.load_unet)

    def load_unet(self) -> Any:
        """Load the U-Net as the base is to be stored, with the attention that was asked for."""
        dtype = self.unet_dtype or self.dtype
        if self.base.base_precision == "auto":
            unet = self.on_device(models.load_unet(self.base, dtype), "unet")
        else:
            check = partial(require_finite, part=TITLES["unet"], sources=self.base.sources("unet"))
            unet = models.load_stored_unet(self.base, dtype, self.device, check)
        self.prepare_norms(unet)
        warning = choose_attention(unet, self.base.attention, self.device, self.dtype)
        if warning is not None and warning not in self.warned:
            self.report(warning)
            self.warned.append(warning)
        return unet

    @property
    def vae(self) -> Any:
        """Return the VAE in float32, on the device."""
        found = self.get("VAE", lambda: self.on_device(models.load_vae(self.base), "vae"))
        return found.to(self.device)

    @property
    def text_encoders(self) -> list[nn.Module]:
        """Return the frozen text encoders in float32, on the device."""
        return self.get("text encoder", lambda: self.load_text_encoders(torch.float32))

    def load_text_encoders(self, dtype: torch.dtype) -> list[Any]:
        """Load separate text encoders for training, which are not shared with `text_encoders`."""
        encoders: list[Any] = models.load_text_encoders(self.base, dtype)
        kinds = self.base.family.text_encoders
        for encoder in encoders:
            self.prepare_norms(encoder)
        return [
            self.on_device(encoder, kind.folder)
            for kind, encoder in zip(kinds, encoders, strict=True)
        ]

    def prepare_norms(self, model: Any) -> None:
        """Let norms compute in the model's format; Apple's kernels may not add up in float32."""
        if self.device.type != "mps":
            keep_format_in_norms(model)

    def on_device(self, model: Any, part: str) -> Any:
        """Move a part to the device, where its weights are checked to be finite.

        Args:
            part: its name in diffusers' folders.

        Raises:
            ConfigError: a weight is NaN or infinite.
        """
        model = model.to(self.device)
        require_finite(model, TITLES.get(part, "text encoder"), self.base.sources(part))
        return model

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
            vae = self.base.vae_path or self.base.path
            raise ConfigError(
                f"VAE {vae} produced NaN or infinite values for {name}.",
                "Set vae to another file, such as those in models/vae.",
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
