"""Everything before the first step: photos, class images, latents and prompts, each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from ...config.config import EMBEDDED, Config, InstanceConfig, ModelConfig
from ...errors import ConfigError
from ...files.atomic import check_writable
from ...files.disk import check_space
from ...files.fingerprint import file_sha256, model_sha256, settings_key
from ...photos.crops import Crop, crops_of
from ...photos.images import Photo, load_photo, load_photos
from ...photos.report import inspect_photos
from ...prompts.tokenizer import token_count
from ...runs.control import Control, Report
from ...runs.events import Status, Warning
from ..base import models
from ..base.models import BaseModel
from ..base.prompts import PromptTable
from ..data.batches import LatentCache, TrainingData, TrainingImage, encode_image, training_image
from ..device.device import DTYPES, device_warnings, make_accelerator
from ..device.memory import OutOfMemory, free_memory, shortage
from ..drawing import class_images
from ..drawing.sampler import Drawer
from .checkpoint import Inputs

LATER = "It is loaded again afterwards; the result is the same."


@dataclass
class Parts:
    """The base's parts, each loaded when first asked for and let go when done with."""

    base: BaseModel
    device: torch.device
    dtype: torch.dtype
    report: Report
    loaded: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self.loaded:
            self.report(Status("loading", message=f"Loading the {name}"))
            self.tidy()  # else its weights would settle in what others left, and hold it in parts
            self.loaded[name] = load()
        return self.loaded[name]

    @property
    def unet(self) -> Any:
        return self.get(
            "U-Net",
            lambda: models.load_unet(self.base, self.dtype).to(self.device),  # pyright: ignore
        )

    @property
    def vae(self) -> Any:
        return self.get("VAE", lambda: models.load_vae(self.base)).to(self.device)

    @property
    def text_encoders(self) -> list[nn.Module]:
        return self.get("text encoder", lambda: self.load_text_encoders(torch.float32))

    def load_text_encoders(self, dtype: torch.dtype) -> list[Any]:
        encoders = models.load_text_encoders(self.base, dtype)
        return [encoder.to(self.device) for encoder in encoders]  # pyright: ignore

    @cached_property
    def noise_scheduler(self) -> DDPMScheduler:
        return models.load_noise_scheduler(self.base)

    def tidy(self) -> None:
        """Give a GPU's memory back; a CPU's comes back by itself."""
        if self.device.type != "cpu":
            free_memory()

    def put_vae_away(self) -> None:
        """Move the VAE out of the GPU's memory, and what it worked with."""
        if "VAE" in self.loaded:
            self.loaded["VAE"].to("cpu")
        self.tidy()

    def encode(self, pixels: np.ndarray, name: str) -> Tensor:
        """The latents (C, h, w) of a photo's pixels (H, W, 3); the U-Net makes room if need be.

        Raises:
            ConfigError: the VAE makes values that are no numbers of it.
        """
        found: list[Tensor] = []
        missing = shortage(lambda: found.append(encode_image(self.vae, pixels)))
        if missing is not None:
            if "U-Net" not in self.loaded:
                raise OutOfMemory(missing, "Lower the resolution, or close other programs.")
            self.report(Warning("out_of_memory", f"{missing} The U-Net makes room.", LATER))
            self.release("U-Net")
            found.append(encode_image(self.vae, pixels))
        if not torch.isfinite(found[0]).all():
            raise ConfigError(
                f"The VAE of {self.base.vae_path or self.base.path} turns {name} into values that "
                "are no numbers.",
                "Give another VAE file as the vae setting, for SDXL as the one mended for fp16.",
            )
        return found[0]

    def drawer(self) -> Drawer:
        return Drawer(self.unet, self.vae, self.noise_scheduler, self.device, self.dtype)

    def release(self, name: str) -> None:
        """Free one part's memory."""
        self.loaded.pop(name, None)
        self.tidy()


def open_parts(model: ModelConfig, mixed_precision: str, report: Report) -> Parts:
    """A base's parts on this machine's device, for jobs that draw but do not train."""
    base = models.open_base(model)
    accelerator = make_accelerator(mixed_precision)
    for warning in device_warnings(accelerator):
        report(warning)
    return Parts(base, accelerator.device, DTYPES[accelerator.mixed_precision], report)


@dataclass(frozen=True)
class Sources:
    """What the user gave, checked: nothing was computed or written yet."""

    config: Config
    base: BaseModel
    photos: Sequence[Photo]
    warnings: Sequence[Warning]


def check_sources(config: Config) -> Sources:
    """Identify the base and read every photo.

    Raises:
        ConfigError: something cannot be used.
    """
    check_writable(Path(config.result.output).parent, "output")
    base = models.open_base(config.model)
    warnings: list[Warning] = []
    skip: Callable[[ConfigError], None] = lambda error: warnings.append(  # noqa: E731
        Warning("skipped_photo", error.message, error.hint)
    )
    photos = load_photos(config.instance, skip)
    if config.prior.enabled and config.prior.class_images is not None:
        for path in class_images.given_class_images(config.prior, base):
            load_photo(path, class_crop_config(config))
    if config.model.base != EMBEDDED:
        warnings += resolution_warnings(config.instance.resolution, base)
    report = inspect_photos(photos, config.instance, token_count)
    warnings += [Warning(note.code, note.message, note.hint) for note in report.warnings()]
    return Sources(config, base, photos, warnings)


def resolution_warnings(resolution: int, base: BaseModel) -> Iterator[Warning]:
    """A note where a base that draws large pictures is to learn from much smaller ones."""
    if 4 * resolution < 3 * base.resolution:
        yield Warning(
            "low_resolution",
            f"resolution is {resolution}, but {base.file.description} draws at {base.resolution}.",
            f"Set resolution to {base.resolution}, or start from a preset for this kind of base.",
        )


def prepare(
    sources: Sources, parts: Parts, prompts: PromptTable, cache: Path, control: Control
) -> tuple[TrainingData, Inputs]:
    """Make latents and class images; afterwards only the U-Net and VAE may still be loaded.

    The photos come first: once they are encoded, it does no harm if they are moved or changed.
    """
    config, base_key = sources.config, model_sha256(sources.base.path)
    check_space([(cache, cache_bytes(sources))])
    vae_key = base_key if sources.base.vae_path is None else file_sha256(sources.base.vae_path)
    latents = LatentCache(cache / "latents", vae_key, parts.encode)
    images = photo_fingerprints(sources.photos)
    instance = encode_photos(sources, latents, parts.report, control)
    classes: list[Path] = []
    if config.prior.enabled and config.prior.class_images is not None:
        classes = class_images.given_class_images(config.prior, sources.base)
    elif config.prior.enabled:
        wanted = class_images.ClassImagesJob(
            prior=config.prior,
            resolution=config.instance.resolution,
            base=class_images.shaping(sources.base),
            cache=cache,
            load_drawer=parts.drawer,
            prompts=(
                prompts[[config.prior.class_prompt]],
                prompts[[config.prior.class_negative_prompt]],
            ),
        )
        classes = class_images.make_class_images(wanted, parts.report, control)
    images["class images"] = settings_key({path.name: file_sha256(path) for path in classes})
    encoded = encode_class_images(config, classes, latents, parts.report, control)
    places = {photo.path.name: place for place, photo in enumerate(sources.photos, start=1)}
    return TrainingData(instance, encoded), Inputs(base_key, vae_key, images, places)


def cache_bytes(sources: Sources) -> int:
    """At most so much will be written: class images as bare pixels, and all latents."""
    instance, prior = sources.config.instance, sources.config.prior
    num_crops = len(sources.photos) * instance.num_crops * (2 if instance.flip else 1)
    num_classes = prior.num_class_images if prior.enabled else 0
    own = num_classes if prior.class_images is None else 0
    pixels = instance.resolution**2
    latent_bytes = 4 * 4 * pixels // models.pixels_per_latent(sources.base) ** 2
    return own * 3 * pixels + (num_crops + num_classes) * latent_bytes


def encode_photos(
    sources: Sources, cache: LatentCache, report: Report, control: Control
) -> list[TrainingImage]:
    config, total = sources.config.instance, len(sources.photos)
    encoded: list[TrainingImage] = []
    for index, photo in enumerate(sources.photos):
        begin_part(report, control, index, total)
        crops = crops_of(photo, config, index)
        encoded += encode_crops(crops, photo, cache, control, is_class=False)
    report(Status("caching", total, total))
    return encoded


def encode_class_images(
    config: Config, classes: Sequence[Path], cache: LatentCache, report: Report, control: Control
) -> list[TrainingImage]:
    class_config, total = class_crop_config(config), len(classes)
    encoded: list[TrainingImage] = []
    for index, path in enumerate(classes):
        begin_part(report, control, index, total)
        photo = load_photo(path, class_config)
        crops = crops_of(photo, class_config, index)
        encoded += encode_crops(crops, photo, cache, control, is_class=True)
    if classes:
        report(Status("caching", total, total))
    return encoded


def begin_part(report: Report, control: Control, done: int, total: int) -> None:
    control.check()
    report(Status("caching", done, total))


def encode_crops(
    crops: Iterable[Crop], photo: Photo, cache: LatentCache, control: Control, *, is_class: bool
) -> list[TrainingImage]:
    encoded: list[TrainingImage] = []
    for crop in crops:
        control.check()
        latents = cache.latents(crop, photo.path.name)
        encoded.append(training_image(crop, photo.caption, latents, is_class=is_class))
    return encoded


def class_crop_config(config: Config) -> InstanceConfig:
    """Class images see the class prompt, and are cropped once, from the middle, not mirrored."""
    return replace(
        config.instance,
        instance_prompt=config.prior.class_prompt,
        caption_mode="prompt",
        crop_mode="none" if config.instance.crop_mode == "none" else "center",
        num_crops=1,
        flip=False,
    )


def photo_fingerprints(photos: Sequence[Photo]) -> dict[str, str]:
    """Each photo with its caption by their contents; photos of one name as one."""
    found: dict[str, str] = {}
    for photo in photos:
        name, content = photo.path.name, file_sha256(photo.path)
        before = found.get(name, "")
        found[name] = settings_key({"file": content, "caption": photo.caption, "more": before})
    return found
