"""Everything before the first step: photos, class images, latents and prompts, each made once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import nn

from ..config import Config, InstanceConfig, ModelConfig
from ..crops import Crop, crops_of
from ..errors import ConfigError
from ..events import Status, Warning
from ..fingerprint import file_sha256, model_sha256, settings_key
from ..images import Photo, load_photo, load_photos
from ..photo_report import inspect_photos
from ..tokenizer import token_count
from . import class_images, models
from .checkpoint import Inputs
from .control import Control, Report
from .data import LatentCache, TrainingData, TrainingImage, training_image
from .device import DTYPES, make_accelerator
from .models import BaseModel, PromptEmbeds
from .sample import Drawer


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

    def put_vae_away(self) -> None:
        """Move the VAE out of the GPU's memory, and what it worked with."""
        self.vae.to("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def drawer(self) -> Drawer:
        return Drawer(self.unet, self.vae, self.noise_scheduler, self.device, self.dtype)

    def release(self, name: str) -> None:
        """Free one part's memory."""
        self.loaded.pop(name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def open_parts(model: ModelConfig, mixed_precision: str, report: Report) -> Parts:
    """A base's parts on this machine's device, for jobs that draw but do not train."""
    base = models.open_base(model)
    accelerator = make_accelerator(mixed_precision)
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
        for path in class_images.given_class_images(config.prior, model_sha256(base.path)):
            load_photo(path, class_crop_config(config))
    report = inspect_photos(photos, config.instance, token_count)
    warnings += [Warning(note.code, note.message, note.hint) for note in report.warnings()]
    return Sources(config, base, photos, warnings)


def check_writable(folder: Path, setting: str) -> None:
    """Refuse a folder in which nothing can be written; it need not exist yet.

    Raises:
        ConfigError: names the setting and the reason.
    """
    parents = (folder, *folder.absolute().parents)
    existing = next((parent for parent in parents if parent.exists()), None)
    if existing is None:
        raise ConfigError(f"{setting}: there is no {folder.anchor}.", "Choose another folder.")
    try:
        with tempfile.TemporaryFile(dir=existing):
            return
    except OSError as error:
        raise ConfigError(
            f"{setting}: the folder {existing} cannot be written to: {error.strerror}.",
            "Choose another folder, or change its permissions.",
        ) from error


def prepare(
    sources: Sources, parts: Parts, prompts: PromptTable, cache: Path, control: Control
) -> tuple[TrainingData, Inputs]:
    """Make class images and latents; afterwards only the U-Net and VAE may still be loaded."""
    config, base_key = sources.config, model_sha256(sources.base.path)
    classes: list[Path] = []
    if config.prior.enabled and config.prior.class_images is not None:
        classes = class_images.given_class_images(config.prior, base_key)
    elif config.prior.enabled:
        wanted = class_images.ClassImagesJob(
            prior=config.prior,
            resolution=config.instance.resolution,
            base_key=base_key,
            cache=cache,
            load_drawer=parts.drawer,
            prompts=(
                prompts[[config.prior.class_prompt]],
                prompts[[config.prior.class_negative_prompt]],
            ),
        )
        classes = class_images.make_class_images(wanted, parts.report, control)
    vae_key = base_key if sources.base.vae_path is None else file_sha256(sources.base.vae_path)
    latents = LatentCache(cache / "latents", vae_key, lambda: parts.vae)
    data = encode_images(sources, classes, latents, parts.report, control)
    return data, Inputs(base_key, vae_key, image_fingerprints(sources.photos, classes))


def encode_images(
    sources: Sources, classes: Sequence[Path], cache: LatentCache, report: Report, control: Control
) -> TrainingData:
    config = sources.config
    class_config = class_crop_config(config)
    total = len(sources.photos) + len(classes)
    instance: list[TrainingImage] = []
    encoded: list[TrainingImage] = []
    for index, photo in enumerate(sources.photos):
        begin_part(report, control, index, total)
        crops = crops_of(photo, config.instance, index)
        instance += encode_crops(crops, photo.caption, cache, is_class=False)
    for index, path in enumerate(classes):
        begin_part(report, control, len(sources.photos) + index, total)
        photo = load_photo(path, class_config)
        crops = crops_of(photo, class_config, index)
        encoded += encode_crops(crops, photo.caption, cache, is_class=True)
    report(Status("caching", total, total))
    return TrainingData(instance, encoded)


def begin_part(report: Report, control: Control, done: int, total: int) -> None:
    control.check()
    report(Status("caching", done, total))


def encode_crops(
    crops: Iterable[Crop], prompt: str, cache: LatentCache, *, is_class: bool
) -> list[TrainingImage]:
    return [training_image(crop, prompt, cache.latents(crop), is_class=is_class) for crop in crops]


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


def image_fingerprints(photos: Sequence[Photo], classes: Sequence[Path]) -> dict[str, str]:
    """Each photo with its caption, and the class images as one, by their contents."""
    found = {
        f"{index} {photo.path.name}": settings_key(
            {"file": file_sha256(photo.path), "caption": photo.caption}
        )
        for index, photo in enumerate(photos, start=1)
    }
    found["class images"] = settings_key({path.name: file_sha256(path) for path in classes})
    return found


class PromptTable:
    """Prompts encoded once while the text encoders are frozen, (B, L, D) and (B, P)."""

    def __init__(self, embeds: PromptEmbeds, prompts: Sequence[str]) -> None:
        self.embeds = embeds
        self.rows = {prompt: row for row, prompt in enumerate(prompts)}

    def __getitem__(self, prompts: Sequence[str]) -> PromptEmbeds:
        return self.embeds[[self.rows[prompt] for prompt in prompts]]


@torch.no_grad()
def encode_table(parts: Parts, prompts: Iterable[str]) -> PromptTable:
    """Encode every different prompt by the frozen text encoders."""
    unique = list(dict.fromkeys(prompts))
    family, encoders = parts.base.family, parts.text_encoders
    rows = [models.encode_prompts(family, encoders, [prompt]) for prompt in unique]
    embeds = torch.cat([row.embeds for row in rows]).cpu()
    pooled = [row.pooled for row in rows if row.pooled is not None]
    return PromptTable(PromptEmbeds(embeds, torch.cat(pooled).cpu() if pooled else None), unique)
