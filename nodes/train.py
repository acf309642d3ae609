"""The node that trains a LoRA from photos in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management as mm
from comfy_api.latest import io

from ..trainer.config.presets import PRESETS
from ..trainer.environment.environment import check_ready
from ..trainer.errors import ConfigError
from ..trainer.runs.events import Failed, Last, Stopped
from ..trainer.runs.history import PastRun, lost_results, past_run, runs_from
from ..trainer.runs.wording import end_text
from ..trainer.runs.worker import Worker
from . import job, places
from .base import Wires, export, find_base
from .fields import TRAIN_ADVANCED, TRAIN_BASIC
from .follow import STOP_SEC, follow
from .inputs import ClassSetType, InstanceSetType, LoraType, advanced_inputs, setting_inputs
from .page import Page
from .pictures import read_tensor
from .wires import Base, ClassImages, InstanceSet, TrainedLora

__all__ = ["NODES"]

PRESET_HELP = "Fills in the settings that are left at their defaults. " + " ".join(
    f"{name}: {preset.help}" for name, preset in PRESETS.items()
)
RESUME = "Run again to resume."
STOPPED_HELP = (
    "After a canceled run with the same inputs: resume from its last step, or start over."
)


class TrainingFailed(Exception):
    """The worker failed; the text says why and what to do."""


class DreamBoothTrain(io.ComfyNode):
    """Trains a LoRA, or reuses the one trained from the same inputs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothTrain",
            display_name="DreamBooth Train",
            category="DreamBooth",
            description="Trains a LoRA on photos of a subject and saves it to models/loras. "
            "Canceling keeps the progress; the next run resumes.",
            inputs=[
                io.Model.Input("model", tooltip="Base model, with any patches applied to it."),
                io.Clip.Input("clip", tooltip="Text encoder of the base model."),
                io.Vae.Input("vae", tooltip="VAE of the base model."),
                InstanceSetType.Input("instance_set", tooltip="From Load Instance Images."),
                ClassSetType.Input(
                    "class_set", optional=True, tooltip="From Generate Class Images. If not "
                    "connected, the trainer generates class images itself when a class prompt is "
                    "set.",
                ),
                io.Combo.Input(
                    "preset", options=[job.NO_PRESET, *PRESETS], default=job.NO_PRESET,
                    tooltip=PRESET_HELP,
                ),
                io.String.Input(
                    "output_name", default="my_subject", tooltip="File name of the LoRA."
                ),
                *setting_inputs(TRAIN_BASIC),
                io.Combo.Input(
                    "if_stopped", options=[job.RESUME, job.START_OVER], tooltip=STOPPED_HELP
                ),
                *advanced_inputs(TRAIN_ADVANCED),
            ],
            outputs=[
                LoraType.Output(display_name="lora", tooltip="For LoRA Loader (DreamBooth)."),
                io.Image.Output(display_name="loss plot", tooltip="Loss by training step."),
                io.String.Output(
                    display_name="run folder", tooltip="Path of the settings, samples and log."
                ),
                io.String.Output(
                    display_name="trigger prompt", tooltip="The prompt that shows the subject."
                ),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, output_name: str | None) -> bool | str:
        """Check the name before anything runs, unless it comes over a wire."""
        if output_name is None:
            return True
        try:
            job.output_path(Path(), output_name)
        except ConfigError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, **_inputs: Any) -> str:
        return str(lost_results(places.runs_folder()))

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        instance_set: InstanceSet,
        preset: str,
        output_name: str,
        if_stopped: str,
        class_set: ClassImages | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        check_ready()
        wires, page = Wires(model, clip, vae), Page(cls.hidden.unique_id)
        page.text("Checking the model …")
        base = find_base(wires, cls.hidden.prompt, cls.hidden.unique_id)
        values = job.with_preset(job.setting_values(settings), preset)
        output = job.output_path(places.loras_folder(), output_name)
        config = job.make_config(values, base, instance_set, class_set, output)
        show_notes(page, base, preset, instance_set)
        key = job.fingerprint(config, base, instance_set, class_set)
        past = runs_from(places.runs_folder(), key)
        finished = next((run for run in past if run.finished_lora), None)
        report = "Inputs unchanged, reusing the finished LoRA"
        if finished is None:
            write_base(base, wires, page)
            run = job.next_run(places.runs_folder(), output.stem, past, if_stopped)
            seen = frozenset().union(*(subject.notes for subject in instance_set.subjects))
            finished = train(job.Task(config, key, run, seen), page)
            report = "LoRA saved"
        return result(finished, config.concepts[0].instance.instance_prompt, report, page)


def show_notes(page: Page, base: Base, preset: str, photos: InstanceSet) -> None:
    texts = list(base.notes)
    for subject in photos.subjects:
        texts.append(" ".join(job.preset_differences(preset, subject.config)))
    for text in filter(None, dict.fromkeys(texts)):
        page.note("warn", "DreamBooth Train", text)


def write_base(base: Base, wires: Wires, page: Page) -> None:
    """Export a patched base for the worker, and free the GPU."""
    if base.patched:
        page.text("Exporting the patched model …")
        export(base, wires)
    mm.unload_all_models()


def train(task: job.Task, page: Page) -> PastRun:
    """Train a run in the worker.

    Raises:
        ConfigError: a problem that the user can fix.
        TrainingFailed: any other failure of the worker.
        InterruptProcessingException: the user canceled; the progress is saved.
    """
    task.begin()
    worker = Worker(task.order)
    try:
        last = follow(worker, page, task.seen)
    finally:
        worker.stop(STOP_SEC)  # saves if following failed; otherwise already ended
    require_finished(last, page)
    return past_run(task.run)


def require_finished(last: Last, page: Page) -> None:
    """Raise the matching exception unless the run finished."""
    text = end_text(last, resume=RESUME)
    if isinstance(last, Stopped):
        page.text(text)
        page.note("info", "Training stopped", text)
        raise mm.InterruptProcessingException
    if isinstance(last, Failed) and last.code == "config":
        raise ConfigError(last.message, last.hint)
    if isinstance(last, Failed):
        raise TrainingFailed(text)


def result(done: PastRun, trigger: str, report: str, page: Page) -> io.NodeOutput:
    """Return the node's outputs and preview."""
    lora = done.finished_lora
    assert lora is not None
    text = f"{report}: {lora.name}"
    page.text(text)
    samples = sorted(done.run.samples.glob("*.png"))[-1:]
    images = [places.page_image(path) for path in [*samples, done.run.loss_plot]]
    return io.NodeOutput(
        TrainedLora(lora, trigger, done.family),
        read_tensor(done.run.loss_plot),
        str(done.run.folder),
        trigger,
        ui={"images": images, "report": [text]},
    )


NODES = [DreamBoothTrain]
