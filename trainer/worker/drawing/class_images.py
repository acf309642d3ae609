"""Class images drawn by the frozen base, kept and topped up (arXiv 2208.12242, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...config.concept import PriorConfig
from ...files.fingerprint import file_sha256, model_sha256
from ...photos.class_set import ClassSet, check_fresh, class_set, make_missing
from ...photos.images import find_photos
from ...photos.pictures import save_picture
from ...runs.control import Control, Report
from ...runs.events import Status, Warning
from ..base.models import BaseModel
from ..base.prompts import PromptEmbeds
from ..device.memory import OutOfMemory, free_bytes, shortage
from .sampler import Drawer, Sampler, draw_series

BYTES_PER_PIXEL = 2500  # of one picture with guidance while it is drawn: about 0.6 GiB at 512 px
MAX_BATCH = 16
SMALLER = "Set class_batch_size to this number to begin with it."


@dataclass(frozen=True)
class ClassImagesJob:
    """Which class images are wanted, and how a drawer for them is had.

    Args:
        base: what of the base model shapes the images, as `shaping` gives it.
        resolution: side in pixels.
        cache: folder in which sets are kept.
        load_drawer: called when an image is missing.
        prompts: the class prompt and the negative prompt, one row each.
    """

    prior: PriorConfig
    resolution: int
    base: Mapping[str, str]
    cache: Path
    load_drawer: Callable[[], Drawer]
    prompts: tuple[PromptEmbeds, PromptEmbeds]

    @property
    def images(self) -> ClassSet:
        """The set that these settings name."""
        prior = self.prior
        return class_set(
            self.cache,
            {
                **self.base,
                "class_prompt": prior.class_prompt,
                "negative_prompt": prior.class_negative_prompt,
                "guidance_scale": prior.class_guidance_scale,
                "inference_steps": prior.class_inference_steps,
                "seed": prior.class_seed,
                "width": self.resolution,
                "height": self.resolution,
                "sampler": "dpm++ 2m",
            },
        )


def shaping(base: BaseModel) -> dict[str, str]:
    """What of a base model shapes its images: the files, and what it is taken to predict."""
    vae = {} if base.vae_path is None else {"vae": file_sha256(base.vae_path)}
    return {"base": model_sha256(base.path), "prediction_type": base.prediction_type, **vae}


def given_class_images(prior: PriorConfig, base: BaseModel) -> list[Path]:
    """The first images of the folder that the user gave, checked not to be stale."""
    folder = Path(prior.class_images or "")
    paths = find_photos([folder])
    wanted = {"class_prompt": prior.class_prompt, **shaping(base)}
    check_fresh(folder, {name: value for name, value in wanted.items() if name != "vae"})
    return paths[: prior.num_class_images]


def make_class_images(job: ClassImagesJob, report: Report, control: Control) -> list[Path]:
    """Generate what is missing; image i has its own seed, so 50 and then 100 equals 100.

    Bit for bit where one is generated at a time, as on a CPU; batches differ by rounding.
    """
    images, count = job.images, job.prior.num_class_images
    message = "Another run makes the class images"
    make_missing(
        images,
        count,
        check=control.check,
        waiting=lambda done: report(Status("class_images", done, count, message)),
        make=lambda missing: draw_missing(job, missing, report, control),
    )
    return images.paths(count)


def draw_missing(
    job: ClassImagesJob, missing: Sequence[int], report: Report, control: Control
) -> None:
    """Generate images in batches; smaller ones where memory runs out."""
    count, drawer = job.prior.num_class_images, job.load_drawer()
    free = free_bytes(drawer.device)
    size = job.prior.class_batch_size or choose_batch_size(job.resolution, drawer.device.type, free)
    while missing:
        report(Status("class_images", count - len(missing), count))
        batch = missing[:size]
        full = shortage(lambda batch=batch: draw_class_images(job, drawer, batch, control))
        if full is None:
            missing = missing[len(batch) :]
        elif len(batch) == 1:
            raise OutOfMemory(full, "Lower the resolution, or close other programs.")
        else:
            size = len(batch) // 2
            report(Warning("out_of_memory", f"{full} Class images: {size} at a time.", SMALLER))
    report(Status("class_images", count, count))


def draw_class_images(
    job: ClassImagesJob, drawer: Drawer, indices: Sequence[int], control: Control
) -> None:
    prior = job.prior
    sampler = Sampler.square(
        job.resolution, prior.class_guidance_scale, prior.class_inference_steps, control.check
    )
    prompt, negative = job.prompts
    seeds = [prior.class_seed + index for index in indices]
    prompts = [prompt] * len(seeds)
    pictures = draw_series(drawer, sampler, prompts, negative, seeds, batch_size=len(seeds))
    for index, picture in zip(indices, pictures, strict=True):
        save_picture(job.images.path(index), picture)


def choose_batch_size(resolution: int, device: str, free: int) -> int:
    """As many pictures at once as half of the free GPU memory holds; 1 elsewhere."""
    if device != "cuda":
        return 1
    return max(1, min(MAX_BATCH, free // 2 // (BYTES_PER_PIXEL * resolution**2)))
