"""Everything before the first step: photos, class images, latents and prompts, each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from ...config.concept import ConceptConfig, InstanceConfig
from ...config.config import Config, placed_text, with_place
from ...config.model import EMBEDDED
from ...errors import ConfigError
from ...files.atomic import check_writable
from ...files.disk import check_space
from ...files.fingerprint import file_sha256, model_sha256
from ...photos.concept_notes import concept_notes, syntax_notes
from ...photos.images import Photo, load_photo, load_photos
from ...photos.pictures import thumbnail
from ...photos.report import inspect_photos, skip_notes
from ...prompts.tokenizer import token_count
from ...runs.control import Control
from ...runs.events import Warning
from ..base import models
from ..base.models import BaseModel
from ..base.parts import Parts
from ..base.prompts import PromptTable
from ..data.encoding import Encoder
from ..data.image_sets import Concept, ImageSet, Target
from ..data.inputs import Inputs
from ..data.latents import LatentCache
from ..drawing import class_images
from ..drawing.sampler import Drawer

__all__ = ["Sources", "check_sources", "prepare"]

MAX_THUMBNAILS = 40  # in the report
TARGETS: dict[str, Target] = {"noise": "noise", "prediction": "base"}


@dataclass(frozen=True)
class Sources:
    """What the user gave, checked: nothing was computed or written yet.

    Args:
        photos: of each concept.
        thumbnails: of the first photos, as JPEG files.
    """

    config: Config
    base: BaseModel
    photos: Sequence[Sequence[Photo]]
    warnings: Sequence[Warning]
    thumbnails: Sequence[bytes] = ()

    def prompts(self) -> list[str]:
        """Every prompt that is encoded by the frozen text encoders."""
        found = [photo.caption for photos in self.photos for photo in photos]
        for concept in self.config.concepts:
            found += [concept.prior.class_prompt, concept.prior.class_negative_prompt]
        return [*found, *self.config.sample_prompts, self.config.samples.sample_negative_prompt]


def check_sources(
    config: Config, on_photo: Callable[[int, int], None] = lambda done, total: None
) -> Sources:
    """Identify the base and read every photo.

    Args:
        on_photo: called before each photo with how many of its set were read, of how many.

    Raises:
        ConfigError: something cannot be used.
    """
    check_writable(Path(config.result.output).parent, "output")
    base = models.open_base(config.model)
    config = config.with_resolution(base.resolution)
    warnings: list[Warning] = []
    photos: list[list[Photo]] = []
    thumbnails: list[bytes] = []

    def keep(_photo: Photo, image: Image) -> None:
        if len(thumbnails) < MAX_THUMBNAILS:
            thumbnails.append(thumbnail(image))

    for index, concept in enumerate(config.concepts):
        found: list[Warning] = []
        photos.append(
            with_place(
                index,
                len(config.concepts),
                partial(check_photos, concept, base, found, on_photo, keep),
            )
        )
        warnings += [
            replace(note, message=placed_text(index, len(config.concepts), note.message))
            for note in found
        ]
    if config.model.base != EMBEDDED:
        warnings[:0] = resolution_warnings(config.resolution, base)
    sources = Sources(config, base, photos, warnings, thumbnails)
    notes = syntax_notes(sources.prompts())
    return replace(
        sources,
        warnings=[*warnings, *(Warning(note.code, note.message, note.hint) for note in notes)],
    )


def check_photos(
    concept: ConceptConfig,
    base: BaseModel,
    warnings: list[Warning],
    on_photo: Callable[[int, int], None],
    on_image: Callable[[Photo, Image], None],
) -> list[Photo]:
    """Read a concept's photos and given class images; adds what there is to say of them."""

    skipped: list[ConfigError] = []
    photos = load_photos(concept.instance, skipped.append, on_photo=on_photo, on_image=on_image)
    if concept.prior.enabled and concept.prior.class_images is not None:
        paths = class_images.given_class_images(concept.prior, base)
        load_class_photos(paths, class_crop_config(concept), on_photo)
    report = inspect_photos(photos, concept.instance, token_count)
    notes = (*skip_notes(skipped), *report.warnings(), *concept_notes(concept, photos))
    warnings += [Warning(note.code, note.message, note.hint) for note in notes]
    return photos


def load_class_photos(
    paths: Sequence[Path], config: InstanceConfig, on_photo: Callable[[int, int], None]
) -> list[Photo]:
    """Decode class images completely."""
    photos: list[Photo] = []
    for index, path in enumerate(paths):
        on_photo(index, len(paths))
        photos.append(load_photo(path, config)[0])
    return photos


def resolution_warnings(resolution: int, base: BaseModel) -> Iterator[Warning]:
    """Yield a note where a base that works at a large size is to learn from much smaller images."""
    if 4 * resolution < 3 * base.resolution:
        yield Warning(
            "low_resolution",
            f"resolution is {resolution}, but {base.file.description} works at {base.resolution}.",
            f"Set resolution to {base.resolution}, or start from a preset for this kind of base.",
        )


def prepare(
    sources: Sources, parts: Parts, prompts: PromptTable, cache: Path, control: Control
) -> tuple[list[Concept], Inputs]:
    """Make latents and class images; afterwards only the U-Net and VAE may still be loaded.

    The photos come first: once they are encoded, it does no harm if they are moved or changed.
    """
    base, check_stop = sources.base, control.check
    base_key = model_sha256(base.path, check_stop)
    check_space([(cache, cache_bytes(sources))])
    vae_key = base_key if base.vae_path is None else file_sha256(base.vae_path, check_stop)
    sampled = sources.config.training.latents == "sampled"
    latents = LatentCache(cache / "latents", vae_key, parts.encode, sampled=sampled)
    encoder = Encoder(latents, parts.report, check_stop)
    inputs = Inputs(base_key, vae_key)
    sets: list[list[ImageSet]] = []
    for concept, photos in zip(sources.config.concepts, sources.photos, strict=True):
        inputs.add_photos(photos, len(sets) + 1, check_stop)
        images = encoder.encode(photos, concept.instance)
        sets.append([ImageSet(numbered("instance", len(sets)), images)])
    for index, concept in enumerate(sources.config.concepts):
        paths = find_class_images(concept, parts, prompts, cache, control)
        inputs.add_class_images(paths, check_stop)
        if not paths:
            continue
        config = class_crop_config(concept)
        photos = load_class_photos(paths, config, lambda done, total: check_stop())
        images = encoder.encode(photos, config)
        name, prior = numbered("class", index), concept.prior
        weight, target = prior.prior_loss_weight, TARGETS[prior.prior_target]
        sets[index].append(ImageSet(name, images, True, weight, target))
    turns = [concept.instance.concept_weight for concept in sources.config.concepts]
    return [Concept(*pair) for pair in zip(sets, turns, strict=True)], inputs


def numbered(name: str, index: int) -> str:
    """Return the name of a set of the first concept, or of a further one."""
    return name if index == 0 else f"{name} {index + 1}"


def find_class_images(
    concept: ConceptConfig, parts: Parts, prompts: PromptTable, cache: Path, control: Control
) -> list[Path]:
    """Return the class images of a concept, generated where that is needed."""
    prior = concept.prior
    if not prior.enabled:
        return []
    if prior.class_images is not None:
        return class_images.given_class_images(prior, parts.base)
    wanted = class_images.ClassImagesJob(
        prior=prior,
        resolution=concept.instance.side,
        model=parts.base,
        base=class_images.shaping(parts.base),
        cache=cache,
        load_drawer=lambda: Drawer.of(parts),
        prompts=(prompts[[prior.class_prompt]], prompts[[prior.class_negative_prompt]]),
    )
    return class_images.make_class_images(wanted, parts.report, control)


def cache_bytes(sources: Sources) -> int:
    """Return how much will be written at most: class images as bare pixels, and all latents."""
    factor = models.pixels_per_latent(sources.base)
    pairs = zip(sources.config.concepts, sources.photos, strict=True)
    tensors = 2 if sources.config.training.latents == "sampled" else 1
    return sum(concept_bytes(concept, len(photos), factor, tensors) for concept, photos in pairs)


def concept_bytes(concept: ConceptConfig, num_photos: int, vae_factor: int, tensors: int) -> int:
    instance, prior = concept.instance, concept.prior
    num_crops = num_photos * instance.num_crops * (2 if instance.flip else 1)
    num_classes = prior.num_class_images if prior.enabled else 0
    own = num_classes if prior.class_images is None else 0
    pixels = instance.side**2
    latent_bytes = tensors * 4 * 4 * pixels // vae_factor**2
    return own * 3 * pixels + (num_crops + num_classes) * latent_bytes


def class_crop_config(concept: ConceptConfig) -> InstanceConfig:
    """Return how class images are read: with the class prompt, one center crop each, unmirrored."""
    instance = concept.instance
    changed: dict[str, Any] = {
        "instance_prompt": concept.prior.class_prompt,
        "caption_mode": "prompt",
        "crop_mode": "none" if instance.crop_mode == "none" else "center",
        "num_crops": 1,
        "flip": False,
    }
    return replace(instance, **changed)
