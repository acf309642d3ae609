"""Photos to crops to latents to batches, each computed once.

Legend: B images, C latent channels, H W height and width in pixels, h w of latents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ...config.config import Config
from ...files.atomic import write_atomic
from ...photos.crops import Crop
from ..base.prompts import PromptEmbeds
from ..objective.loss import Batch
from ..randomness import generator, shuffled

NUM_TIMESTEPS = 1000  # of every Stable Diffusion
PromptEncoder = Callable[[Sequence[str]], PromptEmbeds]


@dataclass(frozen=True)
class TrainingImage:
    """One crop, ready to be noised.

    Args:
        latents: (C, h, w), scaled, float32.
        time_ids: original height and width, crop top and left, target height and width.
    """

    latents: Tensor
    prompt: str
    time_ids: tuple[int, ...]
    is_class: bool


@dataclass(frozen=True)
class TrainingData:
    """The instance images, and the class images or none."""

    instance: Sequence[TrainingImage]
    classes: Sequence[TrainingImage]


@dataclass(frozen=True)
class Share:
    """Which part of every step's images one process computes."""

    rank: int = 0
    num_processes: int = 1


SINGLE = Share()


def training_image(
    crop: Crop, prompt: str, latents: Tensor, *, is_class: bool = False
) -> TrainingImage:
    time_ids = (*crop.original_size, *crop.top_left, *crop.target_size)
    return TrainingImage(latents, prompt, time_ids, is_class)


class LatentCache:
    """The VAE's latents of pictures, kept on disk by what they were made from.

    Args:
        vae_key: the fingerprint of the VAE's file.
        encode: turns pixels (H, W, 3) of a photo of some name into latents.
    """

    def __init__(
        self, folder: Path, vae_key: str, encode: Callable[[np.ndarray, str], Tensor]
    ) -> None:
        self.folder = folder
        self.vae_key = vae_key
        self.encode = encode

    def latents(self, crop: Crop, name: str) -> Tensor:
        """The scaled latents (C, h, w) of a crop of the photo of that name, in float32."""
        pixels = np.asarray(crop.image, dtype=np.uint8)  # (H, W, 3)
        digest = hashlib.sha256(f"{self.vae_key} {pixels.shape}".encode())
        digest.update(pixels.tobytes())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if path.exists():
            with suppress(OSError, SafetensorError, KeyError):  # damaged: what is cached is remade
                return load_file(path)["latents"]
        latents = self.encode(pixels, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save({"latents": latents}))
        return latents


@torch.no_grad()
def encode_image(vae: AutoencoderKL, pixels: np.ndarray) -> Tensor:
    """The mean of the VAE's latents for one picture, scaled by its own factor: (C, h, w).

    Its spread is far below the training noise, so the mean loses nothing and can be kept.
    """
    image = torch.from_numpy(pixels.copy()).to(vae.device).permute(2, 0, 1)[None]
    mean = vae.encode(image.float() / 127.5 - 1).latent_dist.mean  # pyright: ignore
    return (mean[0] * vae.config["scaling_factor"]).float().cpu().contiguous()


def step_batches(
    data: TrainingData,
    config: Config,
    encode: PromptEncoder,
    encode_as_base: PromptEncoder,
    window: int,
    *,
    share: Share = SINGLE,
    most_images: int | None = None,
) -> Iterator[Batch]:
    """The images of one forward window of one process, grouped by shape.

    Which images, their noise and their timesteps follow from the seed and `window` alone.

    Args:
        encode_as_base: used where the base's prediction is the target of class images.
        window: counts forward windows from 0: step * gradient_accumulation_steps + i.
        most_images: in one batch; a larger group gives several, each made when it is asked for.
    """
    size = config.training.train_batch_size
    first = (window * share.num_processes + share.rank) * size
    groups: dict[tuple[int, ...], list[tuple[TrainingImage, Tensor, int]]] = {}
    for images, purpose in ((data.instance, "instance"), (data.classes, "class")):
        for position in range(first, first + size if images else first):
            image = images[shuffled(len(images), position, config.training.seed, purpose)]
            drawn = draw_noise(image, config, position, purpose)
            groups.setdefault(tuple(image.latents.shape), []).append((image, *drawn))
    for group in groups.values():
        size = most_images or len(group)
        for start in range(0, len(group), size):
            yield make_batch(group[start : start + size], config, encode, encode_as_base)


def draw_noise(
    image: TrainingImage, config: Config, position: int, purpose: str
) -> tuple[Tensor, int]:
    """The noise (C, h, w) and the timestep for one image of one step."""
    rng = generator(config.training.seed, f"{purpose} noise", position)
    timestep = int(torch.randint(0, NUM_TIMESTEPS, (), generator=rng))
    noise = torch.randn(image.latents.shape, generator=rng)
    if config.training.noise_offset:
        shift = torch.randn((len(noise), 1, 1), generator=rng)
        noise = noise + config.training.noise_offset * shift
    return noise, timestep


def make_batch(
    group: Sequence[tuple[TrainingImage, Tensor, int]],
    config: Config,
    encode: PromptEncoder,
    encode_as_base: PromptEncoder,
) -> Batch:
    images = [image for image, _, _ in group]
    size = config.training.train_batch_size
    weights = [
        (config.prior.prior_loss_weight if image.is_class else 1.0) / size for image in images
    ]
    texts = [image.prompt for image in images]
    is_class = [image.is_class for image in images]
    prompts = encode(texts)
    by_base = config.prior.prior_target == "prediction"
    has_pooled = prompts.pooled is not None
    return Batch(
        latents=torch.stack([image.latents for image in images]),
        noise=torch.stack([noise for _, noise, _ in group]),
        timesteps=torch.tensor([timestep for _, _, timestep in group]),
        prompts=prompts,
        time_ids=torch.tensor([image.time_ids for image in images]) if has_pooled else None,
        loss_weight=torch.tensor(weights),
        is_class=torch.tensor(is_class),
        base_prompts=encode_as_base(texts) if by_base and any(is_class) else None,
    )
