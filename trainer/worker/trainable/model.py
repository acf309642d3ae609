"""The model in training: everything that a loss needs of a model, behind three calls.

Legend: B images, C latent channels, h w latent height and width, L tokens, D text width, P pooled
text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from ...model_files.families import Family
from ..base.prompts import PromptEmbeds, PromptTable, encode_prompts
from .contract import Trained

__all__ = ["ModelInTraining"]


@dataclass(frozen=True)
class ModelInTraining:
    """The base with what is trained on it.

    Args:
        unet: prepared by accelerate, as are the text encoders.
        text_encoders: those that are trained; none: prompts come from the table.
        prompts: every prompt of the training, encoded by the frozen text encoders.
    """

    family: Family
    unet: Any
    text_encoders: Sequence[Any]
    prompts: PromptTable
    noise_scheduler: DDPMScheduler
    trained: Trained
    device: torch.device

    def encode(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Return encoded prompts; gradients reach text encoders that are trained."""
        if self.text_encoders:
            return encode_prompts(self.family, self.text_encoders, prompts)
        return self.prompts[prompts].to(self.device)

    def predict(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        prompts: PromptEmbeds,
        time_ids: Tensor | None,
    ) -> Tensor:
        """Return the U-Net's prediction, (B, C, h, w) in float32.

        Args:
            noisy_latents: (B, C, h, w); timesteps (B,), prompts (B, L, D) and (B, P).
            time_ids: (B, 6) for SDXL, None for others.
        """
        conditions = None
        if prompts.pooled is not None:
            conditions = {"text_embeds": prompts.pooled, "time_ids": time_ids}
        output = self.unet(noisy_latents, timesteps, prompts.embeds, added_cond_kwargs=conditions)
        return output.sample.float()

    def as_base(self) -> AbstractContextManager[None]:
        """Within it the model is the frozen base, and nothing is recorded for gradients."""
        return self.trained.as_base()
