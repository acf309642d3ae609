"""How much a training computes, and how many class images the base generates for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...config.concept import PriorConfig
from ...config.config import Config
from ...photos.folder import find_photos
from .costs import sampling_cost, step_cost, vae_cost
from .need import Machine, choose_passes, training_step

__all__ = ["Work", "count_work", "generated"]

TERA = 10**12


@dataclass(frozen=True)
class Work:
    """How much there is to compute; how long that takes depends on the device."""

    num_photos: int
    num_class_images: int
    num_steps: int
    tera_flop_per_step: float
    tera_flop_class_images: float
    tera_flop_total: float


def generated(config: Config) -> list[PriorConfig]:
    """Return the settings of all class images that the base generates."""
    priors = [concept.prior for concept in config.concepts]
    return [prior for prior in priors if prior.enabled and prior.class_images is None]


def count_work(config: Config, machine: Machine, *, count_photos: bool) -> Work:
    """Return how much there is to compute, as if no class images were cached.

    Args:
        count_photos: whether there are photos already.
    """
    counted = config.concepts if count_photos else ()
    photos = sum(len(find_photos(concept.instance.instance_images)) for concept in counted)
    side, samples = config.resolution, config.samples
    windows = config.training.gradient_accumulation_steps
    step = training_step(config, machine, choose_passes(config, machine))
    with_classes = turn_share(config, lambda prior: prior.enabled)
    images = (1 + with_classes) * config.training.train_batch_size  # on average
    per_step = windows * step_cost(step).flop * images / step.num_images
    sampled = sampling_cost(config.model, machine.numbers, 1, side).flop
    decoded = vae_cost(config.model, side, decoding=True).flop
    # The base's prediction of an image costs half of a sampling step.
    predicted = turn_share(config, lambda p: p.enabled and p.prior_target == "prediction")
    per_step += windows * config.training.train_batch_size * predicted * sampled / 2
    drawing = sum(
        prior.num_class_images * (prior.class_inference_steps * sampled + decoded)
        for prior in generated(config)
    )
    num_samples = config.training.max_train_steps // (samples.sample_every or 10**9) + 1
    num_samples *= len(config.sample_prompts)
    sampling = num_samples * (samples.sample_inference_steps * sampled + decoded)
    total = config.training.max_train_steps * per_step + drawing + sampling
    return Work(
        num_photos=photos,
        num_class_images=sum(prior.num_class_images for prior in generated(config)),
        num_steps=config.training.max_train_steps,
        tera_flop_per_step=per_step / TERA,
        tera_flop_class_images=drawing / TERA,
        tera_flop_total=total / TERA,
    )


def turn_share(config: Config, has: Callable[[PriorConfig], bool]) -> float:
    """Return the share of turns whose class images' settings have something."""
    turns = [(has(c.prior), c.instance.concept_weight) for c in config.concepts]
    return sum(weight for wanted, weight in turns if wanted) / sum(weight for _, weight in turns)
