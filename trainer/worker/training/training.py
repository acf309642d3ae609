"""The model in training: its updates, and what is done with it between steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ...config.config import Config, placed_text
from ...files.atomic import write_atomic
from ...files.disk import check_space, require_space
from ...files.own import open_own
from ...photos.images import Photo
from ...photos.leftovers import caption_summary
from ...photos.pictures import save_picture
from ...runs.control import Stop
from ...runs.events import Checkpoint, ResultKind, Sample, Started, Status, Warning
from ..base.parts import Parts
from ..base.prompts import PromptEmbeds
from ..device.device import any_process
from ..device.failures import BUT_FP16, Halted, is_out_of_memory
from ..drawing.image_text import image_text
from ..drawing.sampler import Drawer, Sampler, draw_series
from ..trainable.choice import save_result
from ..trainable.contract import Stateful
from ..trainable.model import ModelInTraining
from ..trainable.origin import Origin
from . import checkpoint
from .job import Job
from .plot import plot_losses
from .update import Losses, Updater

__all__ = ["Training"]


@dataclass
class Training:
    """A training that is set up, and what is done with it between steps.

    Args:
        described: what the run is made from, as `data.inputs.description` returns it.
        photos: of each concept.
        thumbnails: of the first photos, as JPEG files.
        saved_step: of the newest checkpoint.
    """

    job: Job
    parts: Parts
    updater: Updater
    described: Mapping[str, Any]
    photos: Sequence[Sequence[Photo]]
    thumbnails: Sequence[bytes]
    saved_step: int = field(default=0)

    @property
    def config(self) -> Config:
        """The settings."""
        return self.job.config

    @property
    def model(self) -> ModelInTraining:
        """The model in training."""
        return self.updater.model

    @property
    def accelerator(self) -> Any:
        """Accelerate's view of the device and the processes."""
        return self.updater.accelerator

    @property
    def is_main_process(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.accelerator.is_main_process

    @cached_property
    def state(self) -> Mapping[str, Stateful]:
        """All that a checkpoint keeps."""
        return {"trained": self.model.trained, "optimizer": self.updater.optimizer}

    def resume(self) -> None:
        """Load the newest whole checkpoint of the run, if there is one."""
        found, damaged = checkpoint.newest_whole(self.job.run.checkpoints, self.state)
        if found is None:
            return
        self.saved_step = checkpoint.resume(found, self.state, self.described)
        if self.is_main_process:
            for path in damaged:
                checkpoint.put_aside(path)
                self.job.report(damage_warning(path, self.saved_step))

    def started_event(self) -> Started:
        """Return what there is to report before the first step."""
        trained, device = self.model.trained, self.model.device
        counts = {
            is_class: sum(len(s.images) for s in sets(self.updater.concepts, is_class=is_class))
            for is_class in (False, True)
        }
        return Started(
            run=str(self.job.run.folder),
            family=self.parts.base.family.name,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            dtype=str(self.parts.dtype).removeprefix("torch."),
            num_instance_images=counts[False],
            num_class_images=counts[True],
            start_step=self.saved_step,
            max_train_steps=self.config.training.max_train_steps,
            trainable_parameters=sum(p.numel() for p in trained.parameters()),
            memory_plan=self.updater.memory.plan,
            captions=" ".join(self.caption_texts()),
        )

    def caption_texts(self) -> Iterator[str]:
        """Yield how many photos of each concept have captions."""
        concepts = self.config.concepts
        for index, (concept, photos) in enumerate(zip(concepts, self.photos, strict=True)):
            yield placed_text(index, len(concepts), caption_summary(photos, concept.instance))

    def stop_is_wanted(self) -> bool:
        """Whether this process or, with several, any other was asked to stop."""
        return any_process(self.accelerator, self.job.control.stop.is_set())

    def update(self, step: int) -> Losses:
        """Do the optimizer update that makes `step`; where it fails, keep the step before.

        Raises:
            Halted: memory is full, or the loss is NaN or infinite.
        """
        try:
            return self.updater.update(step)
        except Halted as error:
            if step > 1 and self.updater.left_good_state(error):
                with suppress(OSError):  # a full disk hides no first failure
                    self.save_state(step - 1)
            raise

    def sample(self, step: int) -> Image.Image | None:
        """Sample the prompts with their own seeds; returns the first image.

        None in all but the main process, and where a stop was asked for meanwhile.
        """
        if not self.is_main_process:
            return None
        self.job.report(Status("sampling"))
        try:
            return self.draw_samples(step)[0]
        except Stop:
            return None
        except Exception as error:
            if is_out_of_memory(error):
                advice = "Lower the resolution, or close other programs that use memory."
            elif isinstance(error, FloatingPointError):
                advice = f"If the loss grows, use a lower learning_rate; in fp16, use {BUT_FP16}."
            else:
                raise
            hint = f"Training continues. {advice}"
            self.job.report(Warning("sample_failed", f"Sampling failed: {error}", hint))
            return None
        finally:
            self.parts.put_vae_away()

    def draw_samples(self, step: int) -> list[Image.Image]:
        """Sample the prompts and save the images."""
        samples, prompts = self.config.samples, self.config.sample_prompts
        sampler = Sampler.square(
            self.config.resolution,
            samples.sample_guidance_scale,
            samples.sample_inference_steps,
            self.job.control.check,
        )
        seeds = [samples.sample_seed + index for index in range(len(prompts))]
        with torch.no_grad():
            negative = self.model.encode([samples.sample_negative_prompt])
            encoded = [self.encoded(prompt) for prompt in prompts]
        pictures: list[Image.Image] = []
        series = draw_series(Drawer.of(self.parts), sampler, encoded, negative, seeds)
        for index, picture in enumerate(series):
            path = self.job.run.samples / f"step_{step:06d}_{index}.png"
            learned = f"in training, step {step}" if step else ""
            text = image_text(
                self.parts.base, sampler, prompts[index], samples.sample_negative_prompt,
                seeds[index], learned,
            )  # fmt: skip
            save_picture(path, picture, text)
            pictures.append(picture)
            self.job.report(Sample(step, str(path), prompts[index], seeds[index]))
        return pictures

    def encoded(self, prompt: str) -> PromptEmbeds:
        """Encode one of many prompts; raises Stop if that was asked for."""
        self.job.control.check()
        return self.model.encode([prompt])

    def save_state(self, step: int) -> None:
        """Keep all that is needed to resume from here."""
        if not self.is_main_process:
            return
        if self.saved_step != step:
            self.job.report(Status("saving"))
            path = self.keep_state(step)
            self.job.report(Checkpoint(step, str(path)))
        try:
            plot_losses(self.job.run)
        except PermissionError as error:  # on Windows: a viewer keeps the old one locked
            hint = "Close the program that shows it; training continues."
            self.job.report(Warning("plot_failed", f"The loss plot was not saved: {error}.", hint))

    def keep_state(self, step: int) -> Path:
        """Write the checkpoint, and only then remove those that it replaces."""
        folder = self.job.run.checkpoints
        require_space(folder, self.state_bytes())
        path = checkpoint.save_checkpoint(folder, step, self.state, self.described)
        self.saved_step = step
        checkpoint.prune(folder, self.config.result.checkpoints_total_limit)
        return path

    def rescue_state(self, step: int) -> None:
        """Keep the state if it still fits on the disk that has just been found full."""
        if self.is_main_process and self.saved_step != step:
            with suppress(OSError):
                self.keep_state(step)

    def state_bytes(self) -> int:
        """Return the size of one checkpoint."""
        return sum(part.num_bytes() for part in self.state.values())

    def save_result(self, step: int) -> tuple[Path, ResultKind]:
        """Write the result under a name that no file has yet: hosts keep files by their name.

        The name that was asked for is the finished result's; an earlier one has its step in it.
        """
        wanted = Path(self.config.result.output)
        if step < self.config.training.max_train_steps:
            wanted = wanted.with_name(f"{wanted.stem}-step{step:08d}{wanted.suffix}")
        if not self.is_main_process:
            return wanted, ""
        captions = [[photo.caption for photo in photos] for photos in self.photos]
        origin = Origin(self.config, self.parts.base, step, captions)
        return save_result(wanted, self.model.trained, origin)

    def show_last_sample(self, path: Path) -> None:
        """Make the newest sample the preview of a stopped run's result, if there is one yet."""
        drawn = sorted(self.job.run.samples.glob("step_??????*_0.png"))
        if self.is_main_process and drawn and not drawn[-1].name.startswith("step_000000_"):
            with open_own(drawn[-1]) as file:
                write_atomic(path.with_suffix(".png"), file.read())

    def check_space(self) -> None:
        """Refuse to start where checkpoints and result will not fit.

        Raises:
            ConfigError: a disk has less room than they need.
        """
        result, run = self.config.result, self.job.run
        there = len(checkpoint.checkpoints(run.checkpoints))
        to_come = max(1, result.checkpoints_total_limit + 1 - there)
        file = self.model.trained.num_bytes()  # at most: half precision needs less
        states = to_come * self.state_bytes()
        check_space([(run.folder, states), (Path(result.output).parent, file)])


def sets(concepts: Any, *, is_class: bool) -> list[Any]:
    """Return the sets of all concepts that hold class images, or those that do not."""
    return [one for concept in concepts for one in concept.sets if one.is_class == is_class]


def damage_warning(path: Path, step: int) -> Warning:
    message = f"Checkpoint {path.name} is damaged; training resumes from step {step}."
    hint = f"The damaged one is kept as {path.name}.damaged. Check the disk."
    return Warning("damaged_checkpoint", message, hint)
