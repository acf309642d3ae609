"""What each part of a job costs in memory and computation, from the checkpoint's header alone.

Legend: B images, C latent channels, h w latent height and width, L = 77 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from ...config.model import ModelConfig
from ...config.trained import TrainedConfig
from ..base import models
from ..base.models import BaseModel
from ..base.prompts import PromptEmbeds, PromptTable, encode_prompts
from ..data.batches import Batch
from ..data.image_sets import TrainingImage
from ..drawing.sampler import Drawer, Sampler, guided_conditions, precision
from ..objective.loss import diffusion_loss
from ..trainable.choice import make_trained, weights_dtype
from ..trainable.contract import Trained
from ..trainable.model import ModelInTraining
from .meter import Cost, measure, norms_in_float32, without_contents

__all__ = [
    "NumberFormat",
    "Sizes",
    "Step",
    "sampling_cost",
    "sizes",
    "step_cost",
    "switch_checkpointing_on",
    "text_cost",
    "trained_sizes",
    "vae_cost",
]

CPU, META = torch.device("cpu"), torch.device("meta")
MAX_POSITION = 77


@dataclass(frozen=True)
class NumberFormat:
    """The number format of the base, and the device that computes in it.

    On an Apple GPU attention keeps its whole matrices for backward, and norms compute in float32;
    so do those of whole models in training on any GPU.
    """

    dtype: torch.dtype
    device: str

    @property
    def traced(self) -> torch.dtype:
        """Return a format of the same size that CPU operators support, for tracing."""
        return torch.bfloat16 if self.dtype == torch.float16 else self.dtype


@dataclass(frozen=True)
class Step:
    """Everything that the cost of a forward and backward pass depends on.

    Args:
        num_images: per forward pass, including class images.
        resolution: side in pixels.
    """

    model: ModelConfig
    trained: TrainedConfig
    numbers: NumberFormat
    num_images: int
    resolution: int
    checkpointing: bool


@dataclass(frozen=True)
class Sizes:
    """Bytes of the base's parts as loaded: the VAE and frozen text encoders in float32."""

    unet: int
    text_encoders: int
    vae: int


@cache
def sizes(model: ModelConfig, dtype: torch.dtype) -> Sizes:
    """Return the sizes of a base's parts, with the U-Net in `dtype`."""
    base = models.open_base(model)
    with torch.device("meta"):
        encoders = models.load_text_encoders(base, torch.float32)
        unet, vae = models.load_stored_unet(base, dtype, META), models.load_vae(base)
    return Sizes(num_bytes([unet]), num_bytes(encoders), num_bytes([vae]))


def num_bytes(parts: Iterable[nn.Module]) -> int:
    return sum(parameter.nbytes for part in parts for parameter in part.parameters())


@dataclass(frozen=True)
class TrainedSizes:
    """What is trained, and what stays frozen next to it.

    Args:
        weights: that are trained, without contents.
        frozen_bytes: of the U-Net, and of the text encoders if they are trained.
    """

    weights: tuple[Tensor, ...]
    frozen_bytes: int

    @property
    def trained_bytes(self) -> int:
        """The size of the trained weights."""
        return sum(weight.nbytes for weight in self.weights)


@cache
def trained_sizes(model: ModelConfig, config: TrainedConfig, dtype: torch.dtype) -> TrainedSizes:
    """Return the exact sizes of a training's models, with the base in `dtype`."""
    trained, _, unet, encoders = trained_models(model, config, dtype)
    return TrainedSizes(
        tuple(trained.parameters()), num_bytes([unet, *encoders]) - trained.num_bytes()
    )


def trained_models(
    model: ModelConfig, config: TrainedConfig, dtype: torch.dtype
) -> tuple[Trained, BaseModel, nn.Module, list[Any]]:
    """Return what is trained, its base, U-Net and trained text encoders, all without contents."""
    base = models.open_base(model)
    encoders: list[Any] = []
    with torch.device("meta"):
        loaded = weights_dtype(config, dtype)
        unet = models.load_stored_unet(base, loaded, META)
        if config.train_text_encoder:
            encoders = models.load_text_encoders(base, loaded)
        trained = make_trained(base.family, unet, encoders, config)
    for parameter in trained.parameters():
        parameter.data = parameter.data.float()
    return trained, base, unet, encoders


def step_cost(step: Step) -> Cost:
    """Return the cost of a forward and backward pass: that of one image times their number.

    Where whole models are trained, their gradients and copies in half precision count once.
    """
    trained = replace(step.trained, alpha=None, save_precision="fp16")  # neither affects the cost
    one = pass_cost(replace(step, trained=trained, num_images=1))
    each = one.peak_bytes
    if trained.is_full and step.num_images > 1:
        each = pass_cost(replace(step, trained=trained, num_images=2)).peak_bytes - each
    return Cost(one.peak_bytes + (step.num_images - 1) * each, step.num_images * one.flop)


@cache
def pass_cost(step: Step) -> Cost:
    dtype = step.numbers.traced
    trained, base, unet, encoders = trained_models(step.model, step.trained, dtype)
    if step.checkpointing:
        switch_checkpointing_on(unet)
    if step.numbers.device == "mps" or step.trained.is_full and step.numbers.device != "cpu":
        norms_in_float32(unet, *encoders)
    noise_scheduler = models.load_noise_scheduler(base)
    side = latent_side(step.model, step.resolution)

    def compute() -> None:
        with precision(CPU, dtype):
            prompts = PromptTable(fake_prompts(base, unet, 1), [""])
            model = ModelInTraining(
                base.family, unet, encoders, prompts, noise_scheduler, trained, CPU
            )
            loss, _ = diffusion_loss(model, fake_batch(step.num_images, side))
        loss.backward()

    plain = sdpa_kernel(SDPBackend.MATH) if step.numbers.device == "mps" else nullcontext()
    with without_contents(unet, *encoders), plain:
        return measure(compute, unet, *encoders)


def switch_checkpointing_on(unet: Any) -> None:
    """Switch on a U-Net's gradient checkpointing; nothing in it is random, so no state is kept."""
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    unet.enable_gradient_checkpointing(again)
    unet.train()  # only checkpointing depends on this


def fake_prompts(base: BaseModel, unet: Any, count: int) -> PromptEmbeds:
    embeds = torch.zeros(count, MAX_POSITION, unet.config.cross_attention_dim)
    if base.family.name != "sdxl":
        return PromptEmbeds(embeds, None)
    time_ids = 6 * unet.config.addition_time_embed_dim
    pooled = unet.config.projection_class_embeddings_input_dim - time_ids
    return PromptEmbeds(embeds, torch.zeros(count, pooled))


def fake_batch(count: int, side: int) -> Batch:
    latents = torch.zeros(count, 4, side, side)  # (B, C, h, w)
    image = TrainingImage(latents[0], "", (0,) * 6)
    return Batch(
        images=[image] * count,
        latents=latents,
        noise=latents,
        timesteps=torch.zeros(count, dtype=torch.long),
        loss_weight=torch.ones(count),
        is_class=torch.zeros(count, dtype=torch.bool),
    )


@cache
def latent_side(model: ModelConfig, resolution: int) -> int:
    with torch.device("meta"):
        return resolution // models.vae_factor(models.load_vae(models.open_base(model)))


@cache
@torch.no_grad()
def sampling_cost(model: ModelConfig, numbers: NumberFormat, count: int, resolution: int) -> Cost:
    """Return the cost of a sampling step of `count` images, with and without prompt at once."""
    base = models.open_base(model)
    with torch.device("meta"):
        unet = models.load_stored_unet(base, numbers.traced, META)
    if numbers.device == "mps":
        norms_in_float32(unet)
    sampler = Sampler((resolution, resolution), 1.0, 1, lambda: None)
    side = latent_side(model, resolution)

    def compute() -> None:
        latents = torch.zeros(2 * count, 4, side, side)
        prompts = fake_prompts(base, unet, count)
        drawer: Any = Drawer(unet, None, None, CPU, numbers.traced)  # pyright: ignore
        conditions = guided_conditions(drawer, sampler, prompts, prompts[:1])
        with precision(CPU, numbers.traced):
            unet(latents, torch.zeros((), dtype=torch.long), **conditions)

    with without_contents(unet):
        return measure(compute, unet)


@cache
@torch.no_grad()
def vae_cost(model: ModelConfig, resolution: int, *, decoding: bool) -> Cost:
    """Return the cost of one image in the VAE; decoding is done in tiles."""
    with torch.device("meta"):
        vae: Any = models.load_vae(models.open_base(model))

    def compute() -> None:
        if decoding:
            vae.enable_tiling()
            side = resolution // models.vae_factor(vae)
            vae.decode(torch.zeros(1, 4, side, side))
        else:
            vae.encode(torch.zeros(1, 3, resolution, resolution))

    with without_contents(vae):
        return measure(compute, vae)


@cache
@torch.no_grad()
def text_cost(model: ModelConfig) -> Cost:
    """Return the cost of one prompt in the frozen text encoders."""
    base = models.open_base(model)
    with torch.device("meta"):
        encoders = models.load_text_encoders(base, torch.float32)
    with without_contents(*encoders):
        return measure(lambda: encode_prompts(base.family, encoders, [""]), *encoders)
