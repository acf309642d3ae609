"""The model in training: its updates, and what is done with it between steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..config import Config
from ..events import (
    Checkpoint,
    Sample,
    Started,
    Status,
    Warning,
)
from ..run import Run, unique_path
from . import checkpoint, models
from .class_images import save_picture
from .control import Control, Report, Stop
from .data import Share, TrainingData, step_batches
from .lora import add_adapter, save_lora
from .loss import diffusion_loss
from .memory import memory_plan, needs_checkpointing, with_checkpointing
from .models import PromptEmbeds
from .optim import make_optimizer, set_learning_rate
from .plot import plot_losses
from .prepare import (
    Parts,
    PromptTable,
)
from .sample import Sampler, draw, starting_noise


class Diverged(Exception):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Job:
    """One training to do, where, and who hears of it."""

    config: Config
    run: Run
    resume: bool
    report: Report
    control: Control


@dataclass(frozen=True)
class Losses:
    """What one update came to; `prior` is None without class images."""

    loss: float
    instance: float
    prior: float | None
    learning_rate: float


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
        self.described = checkpoint.description(self.config, inputs)
        parts.put_vae_away()
        text_encoders: list[Any] = []
        if self.config.lora.train_text_encoder:
            text_encoders = parts.load_text_encoders(parts.dtype)
        self.adapter = add_adapter(
            self.family, parts.unet, text_encoders, self.config.lora, self.config.training.seed
        )
        self.adapter.to(self.device)
        self.plan = self.plan_memory(text_encoders)
        self.unet = accelerator.prepare(parts.unet)
        self.text_encoders = [accelerator.prepare(encoder) for encoder in text_encoders]
        self.optimizer = make_optimizer(self.adapter, self.config)
        self.stepper: Any = accelerator.prepare(self.optimizer)
        self.saved_step: int | None = None
        self.start_step = self.take_up() if job.resume else 0

    def plan_memory(self, text_encoders: Sequence[Any]) -> dict[str, int]:
        """Predict the memory, and turn gradient checkpointing on where it is short."""
        plan = memory_plan(
            self.family.name,
            self.config,
            [self.parts.unet, *text_encoders],
            self.adapter.parameters(),
        )
        if not needs_checkpointing(plan, self.config, self.device):
            return plan
        self.job.report(Status("loading", message="Gradient checkpointing is on"))
        self.parts.unet.enable_gradient_checkpointing()
        self.parts.unet.train()  # checkpointing looks at this; nothing else does
        return with_checkpointing(plan)

    def take_up(self) -> int:
        """Load the newest checkpoint of the run, if there is one; gives its step."""
        found = checkpoint.checkpoints(self.job.run.checkpoints)
        if not found:
            return 0
        state = checkpoint.resume(found[-1], self.adapter, self.optimizer, self.described)
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

    def encode_with(self, text_encoders: Sequence[Any], prompts: Sequence[str]) -> PromptEmbeds:
        if text_encoders:
            return models.encode_prompts(self.family, text_encoders, prompts)
        return self.prompts[prompts].to(self.device)

    def stop_is_wanted(self) -> bool:
        """Whether this process or, with several, any other was asked to stop."""
        wanted = self.job.control.stop.is_set()
        if self.accelerator.num_processes == 1:
            return wanted
        flag = torch.tensor([int(wanted)], device=self.device)
        return bool(self.accelerator.gather(flag).any())

    def update(self, step: int) -> Losses:
        """Do the optimizer update that makes `step`.

        Raises:
            Diverged: the loss is infinite or no number.
        """
        training = self.config.training
        learning_rate = set_learning_rate(self.optimizer, training, step)
        num_windows = training.gradient_accumulation_steps
        seen: list[tuple[Tensor, Tensor]] = []
        for i in range(num_windows):
            with self.accelerator.accumulate(self.unet, *self.text_encoders):
                loss = self.window_loss((step - 1) * num_windows + i, seen)
                self.accelerator.backward(loss)
                if self.accelerator.sync_gradients:
                    self.clip_gradients(step)
                self.stepper.step()
                self.stepper.zero_grad()
        return self.mean_losses(step, learning_rate, seen)

    def clip_gradients(self, step: int) -> None:
        """Clip to max_grad_norm; without a scaler, which skips such updates, refuse infinity."""
        norm = self.accelerator.clip_grad_norm_(
            self.adapter.parameters(), self.config.training.max_grad_norm
        )
        if self.accelerator.scaler is None and not math.isfinite(norm):
            raise Diverged(f"The gradients at step {step} are no numbers.")

    def window_loss(self, window: int, seen: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The loss of one forward window; each image's error is added to `seen`."""
        share = Share(self.accelerator.process_index, self.accelerator.num_processes)
        total = torch.zeros((), device=self.device)
        for batch in step_batches(self.data, self.config, self.encode, window, share):
            placed = batch.to(self.device)
            loss, errors = diffusion_loss(
                self.unet, self.parts.noise_scheduler, placed, self.config.training.snr_gamma
            )
            total = total + loss
            seen.append((errors, placed.is_class))
        return total

    def mean_losses(
        self, step: int, learning_rate: float, seen: Sequence[tuple[Tensor, Tensor]]
    ) -> Losses:
        errors = self.accelerator.gather(torch.cat([errors for errors, _ in seen])).cpu()
        is_class = self.accelerator.gather(torch.cat([flags for _, flags in seen])).cpu()
        instance = errors[~is_class].mean().item()
        prior = errors[is_class].mean().item() if is_class.any() else None
        loss = instance + self.config.prior.prior_loss_weight * (prior or 0.0)
        if not math.isfinite(loss):
            raise Diverged(f"The loss at step {step} is {loss}.")
        return Losses(loss, instance, prior, learning_rate)

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
        except (torch.OutOfMemoryError, FloatingPointError) as error:
            hint = "Training goes on. Lower the resolution, or use mixed_precision bf16 or no."
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
        if not self.accelerator.is_main_process or self.saved_step == step:
            return
        self.job.report(Status("saving"))
        folder, scaler = self.job.run.checkpoints, self.accelerator.scaler
        values = {**self.described, **({} if scaler is None else {"scaler": scaler.state_dict()})}
        path = checkpoint.save_checkpoint(folder, step, self.adapter, self.optimizer, values)
        self.saved_step = step
        checkpoint.prune(folder, self.config.result.checkpoints_total_limit)
        plot_losses(self.job.run)
        self.job.report(Checkpoint(step, str(path)))

    def save_lora(self, step: int) -> Path:
        """Write the LoRA under a name that no file has yet: hosts keep files by their name."""
        wanted = Path(self.config.result.output)
        path = unique_path(wanted.parent, wanted.stem, ".safetensors")
        if self.accelerator.is_main_process:
            save_lora(path, self.adapter, self.config, self.parts.base, step)
        return path


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
