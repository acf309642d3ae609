"""The batches of a step: its images, grouped by shape, with their noise and timesteps.

Legend: B images, C latent channels, h w latent height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...config.optimization import TrainingConfig
from ..randomness import generator
from .image_sets import Concept, TrainingImage
from .order import Pick, Share, picks

__all__ = ["Batch", "step_batches"]

NUM_TIMESTEPS = 1000  # of every Stable Diffusion
SINGLE = Share()


@dataclass(frozen=True)
class Batch:
    """Images of one shape with all that their loss depends on.

    Prior preservation is a weight per image: every image weighs its set's weight / (turns of the
    step), so that the weighted sum over a step's batches is the paper's sum of two means
    (arXiv 2208.12242, eq. 1).

    Args:
        images: the images as they were prepared.
        latents: (B, C, h, w), their latents, scaled.
        noise: (B, C, h, w).
        timesteps: (B,).
        loss_weight: (B,).
        is_class: (B,), class images.
        to_base: (B,), images whose target is the base's prediction; None: there are none.
    """

    images: Sequence[TrainingImage]
    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    loss_weight: Tensor
    is_class: Tensor
    to_base: Tensor | None = None

    @property
    def prompts(self) -> list[str]:
        """The prompt of every image."""
        return [image.prompt for image in self.images]

    @property
    def time_ids(self) -> Tensor:
        """Original size, crop top left and target size, (B, 6); only SDXL uses them."""
        rows = [image.time_ids for image in self.images]
        return torch.tensor(rows, device=self.latents.device)

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


def step_batches(
    concepts: Sequence[Concept],
    training: TrainingConfig,
    window: int,
    *,
    share: Share = SINGLE,
    most_images: int | None = None,
) -> Iterator[Batch]:
    """Yield the images of one forward window of one process, grouped by shape.

    Which images, their noise and their timesteps follow from the seed and `window` alone.

    Args:
        window: counts forward windows from 0: step * gradient_accumulation_steps + i.
        most_images: in one batch; a larger group gives several, each made when it is asked for.
    """
    size = training.train_batch_size
    groups: dict[tuple[int, ...], list[Pick]] = {}
    for pick in picks(concepts, training.seed, window, batch_size=size, share=share):
        groups.setdefault(tuple(pick.image.latents.shape), []).append(pick)
    for group in groups.values():
        most = most_images or len(group)
        for start in range(0, len(group), most):
            yield make_batch(group[start : start + most], training)


def make_batch(group: Sequence[Pick], training: TrainingConfig) -> Batch:
    images = [pick.image for pick in group]
    noise, timesteps = zip(*(draw_noise(pick, training) for pick in group), strict=True)
    to_base = [pick.images.target == "base" for pick in group]
    weights = [pick.images.weight / training.train_batch_size for pick in group]
    return Batch(
        images=images,
        latents=torch.stack([latents_of(pick, training.seed) for pick in group]),
        noise=torch.stack(noise),
        timesteps=torch.tensor(timesteps),
        loss_weight=torch.tensor(weights),
        is_class=torch.tensor([pick.images.is_class for pick in group]),
        to_base=torch.tensor(to_base) if any(to_base) else None,
    )


def latents_of(pick: Pick, seed: int) -> Tensor:
    """Return an image's latents (C, h, w); drawn from their distribution if they have a spread."""
    image = pick.image
    if image.spread is None:
        return image.latents
    rng = generator(seed, f"{pick.images.name} latents", pick.position)
    return image.latents + image.spread * torch.randn(image.latents.shape, generator=rng)


def draw_noise(pick: Pick, training: TrainingConfig) -> tuple[Tensor, int]:
    """Draw the noise (C, h, w) and the timestep of one image of one step."""
    rng = generator(training.seed, f"{pick.images.name} noise", pick.position)
    timestep = int(torch.randint(0, NUM_TIMESTEPS, (), generator=rng))
    noise = torch.randn(pick.image.latents.shape, generator=rng)
    if training.noise_offset:
        shift = torch.randn((len(noise), 1, 1), generator=rng)
        noise = noise + training.noise_offset * shift
    return noise, timestep
