"""The model in training: its updates, and what is done with it between steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ...config.config import Config
from ...files.disk import check_space, require_space
from ...runs.control import Control, Report, Stop
from ...runs.events import Checkpoint, Sample, Started, Status, Warning
from ...runs.run import Run
from ..base.prompts import PromptEmbeds, PromptTable, encode_prompts
from ..data.batches import TrainingData
from ..device.device import any_process
from ..device.failures import BUT_FP16, Halted, is_out_of_memory
from ..drawing.class_images import save_picture
from ..drawing.sampler import Sampler, draw, starting_noise
from ..memory.stepdown import StepMemory
from ..trainable.lora import add_adapter, save_lora
from . import checkpoint
from .plot import plot_losses
from .prepare import Parts
from .update import Losses, Updater


@dataclass(frozen=True)
class Job:
    """One training to do, where, and who hears of it."""

    config: Config
    run: Run
    resume: bool
    report: Report
    control: Control


def sample_prompts(config: Config) -> list[str]:
    return list(config.samples.sample_prompts) or [config.instance.instance_prompt]


class Training:
    """The model in training, and what is done with it between steps."""

    def __init__(
        self,
        job: Job,
        accelerator: Any,
        parts: Parts,
        prompts: PromptTable,
        data: TrainingData,
        inputs: checkpoint.Inputs,
    ) -> None:
        self.job, self.config, self.data = job, job.config, data
        self.accelerator, self.device = accelerator, accelerator.device
        self.parts, self.prompts, self.family = parts, prompts, parts.base.family
        self.described = checkpoint.description(self.config, inputs, accelerator.num_processes)
        parts.put_vae_away()
        text_encoders: list[Any] = []
        if self.config.lora.train_text_encoder:
            text_encoders = parts.load_text_encoders(parts.dtype)
        self.adapter = add_adapter(
            self.family, parts.unet, text_encoders, self.config.lora, self.config.training.seed
        )
        self.adapter.to(self.device)
        memory = StepMemory(self.config, parts.unet, accelerator, parts.dtype, job.report)
        self.plan = memory.plan
        # Several processes average their gradients in the updater, so that one that lacks memory
        # can tell the others; "evaluation" leaves out accelerate's own way, and nothing else.
        self.unet = accelerator.prepare_model(parts.unet, evaluation_mode=True)
        self.text_encoders = [
            accelerator.prepare_model(encoder, evaluation_mode=True) for encoder in text_encoders
        ]
        self.updater = Updater(
            self.config, accelerator, unet=self.unet, noise_scheduler=parts.noise_scheduler,
            adapter=self.adapter, data=data, encode=self.encode,
            encode_as_base=self.encode_as_base, memory=memory,
        )  # fmt: skip
        self.optimizer, self.stepper = self.updater.optimizer, self.updater.stepper
        self.saved_step: int | None = None
        self.start_step = self.take_up() if job.resume else 0

    def take_up(self) -> int:
        """Load the newest whole checkpoint of the run, if there is one; gives its step."""
        found, damaged = checkpoint.newest_whole(self.job.run.checkpoints)
        if found is None:
            return 0
        state = checkpoint.resume(found, self.adapter, self.optimizer, self.described)
        self.saved_step = state["step"]
        if self.accelerator.is_main_process:
            for path in damaged:
                checkpoint.put_aside(path)
                self.job.report(damage_warning(path, state["step"]))
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        return state["step"]

    def started_event(self) -> Started:
        return Started(
            run=str(self.job.run.folder),
            family=self.family.name,
            device=device_name(self.device),
            dtype=str(self.parts.dtype).removeprefix("torch."),
            num_instance_images=len(self.data.instance),
            num_class_images=len(self.data.classes),
            start_step=self.start_step,
            max_train_steps=self.config.training.max_train_steps,
            trainable_parameters=sum(p.numel() for p in self.adapter.parameters()),
            memory_plan=self.plan,
        )

    def encode(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encode for training: gradients reach trained text encoders, in every process."""
        return self.encode_with(self.text_encoders, prompts)

    def encode_as_base(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Encode by the same text encoders, in the same precision, without what they learnt."""
        with torch.no_grad(), self.adapter.switched_off():
            return self.encode(prompts)

    def encode_with(self, text_encoders: Sequence[Any], prompts: Sequence[str]) -> PromptEmbeds:
        if text_encoders:
            return encode_prompts(self.family, text_encoders, prompts)
        return self.prompts[prompts].to(self.device)

    def stop_is_wanted(self) -> bool:
        """Whether this process or, with several, any other was asked to stop."""
        return any_process(self.accelerator, self.job.control.stop.is_set())

    def update(self, step: int) -> Losses:
        """Do the optimizer update that makes `step`; where it cannot be done, keep the last one.

        Raises:
            Halted: memory is full or the loss is no number.
        """
        try:
            return self.updater.update(step)
        except Halted as error:
            if step > 1 and self.updater.left_good_state(error):
                with suppress(OSError):  # a full disk hides no first failure
                    self.save_state(step - 1)
            raise

    def sample(self, step: int) -> Image.Image | None:
        """Draw the sample prompts with their own seeds; gives the first picture.

        None in all but the main process, and where a stop was asked for meanwhile.
        """
        if not self.accelerator.is_main_process:
            return None
        self.job.report(Status("sampling"))
        try:
            return self.draw_samples(step)[0]
        except Stop:
            return None
        except Exception as error:
            if not (isinstance(error, FloatingPointError) or is_out_of_memory(error)):
                raise
            hint = f"Training goes on. Lower the resolution, or use {BUT_FP16}."
            self.job.report(Warning("sample_failed", f"No sample could be drawn: {error}", hint))
            return None
        finally:
            self.parts.put_vae_away()

    def draw_samples(self, step: int) -> list[Image.Image]:
        samples, side = self.config.samples, self.config.instance.resolution
        sampler = Sampler(
            (side, side),
            samples.sample_guidance_scale,
            samples.sample_inference_steps,
            self.job.control.check,
        )
        drawer = self.parts.drawer()
        encoders = [self.accelerator.unwrap_model(encoder) for encoder in self.text_encoders]
        prompts = sample_prompts(self.config)
        with torch.no_grad(), self.accelerator.autocast():
            negative = self.encode_with(encoders, [samples.sample_negative_prompt])
            encoded = [(prompt, self.encode_with(encoders, [prompt])) for prompt in prompts]
        pictures: list[Image.Image] = []
        for index, (prompt, embeds) in enumerate(encoded):
            seed = samples.sample_seed + index
            noise = starting_noise(drawer, sampler, seed)
            pictures += draw(drawer, sampler, embeds, negative, noise)
            path = self.job.run.samples / f"step_{step:06d}_{index}.png"
            save_picture(path, pictures[-1])
            self.job.report(Sample(step, str(path), prompt, seed))
        return pictures

    def save_state(self, step: int) -> None:
        """Keep all that is needed to go on from here."""
        if not self.accelerator.is_main_process:
            return
        if self.saved_step != step:
            self.job.report(Status("saving"))
            path = self.keep_state(step)
            self.job.report(Checkpoint(step, str(path)))
        try:
            plot_losses(self.job.run)
        except PermissionError as error:  # on Windows: a viewer keeps the old one locked
            hint = "Close the program that shows it; training goes on."
            self.job.report(Warning("plot_failed", f"The loss plot was not drawn: {error}.", hint))

    def keep_state(self, step: int) -> Path:
        """Write the checkpoint, and only then remove those that it replaces."""
        folder, scaler = self.job.run.checkpoints, self.accelerator.scaler
        require_space(folder, checkpoint.state_bytes(self.adapter))
        values = {**self.described, **({} if scaler is None else {"scaler": scaler.state_dict()})}
        path = checkpoint.save_checkpoint(folder, step, self.adapter, self.optimizer, values)
        self.saved_step = step
        checkpoint.prune(folder, self.config.result.checkpoints_total_limit)
        return path

    def rescue_state(self, step: int) -> None:
        """Keep the state if it still fits on the disk that has just been found full."""
        if self.accelerator.is_main_process and self.saved_step != step:
            with suppress(OSError):
                self.keep_state(step)

    def save_lora(self, step: int) -> Path:
        """Write the LoRA under a name that no file has yet: hosts keep files by their name.

        The name that was asked for is the finished LoRA's; an earlier one has its step in it.
        """
        wanted = Path(self.config.result.output)
        if step < self.config.training.max_train_steps:
            wanted = wanted.with_name(f"{wanted.stem}-step{step:08d}{wanted.suffix}")
        if not self.accelerator.is_main_process:
            return wanted
        return save_lora(wanted, self.adapter, self.config, self.parts.base, step)

    def check_space(self) -> None:
        """Refuse to begin where checkpoints and LoRA will find no room.

        Raises:
            ConfigError: a disk has less room than they need.
        """
        result, run = self.config.result, self.job.run
        there = len(checkpoint.checkpoints(run.checkpoints))
        to_come = max(1, result.checkpoints_total_limit + 1 - there)
        num_bytes = checkpoint.state_bytes(self.adapter)
        lora = num_bytes // 3  # at most: it may be saved in half precision
        check_space([(run.folder, to_come * num_bytes), (Path(result.output).parent, lora)])


def damage_warning(path: Path, step: int) -> Warning:
    message = f"The checkpoint {path.name} is damaged; training goes on from step {step}."
    hint = f"The damaged one is kept as {path.name}.damaged; look after the disk."
    return Warning("damaged_checkpoint", message, hint)


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
