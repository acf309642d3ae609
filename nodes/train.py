"""Training: a LoRA from photos, in the trainer's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.model_management as mm
from comfy_api.latest import io

from ..trainer.config import Config
from ..trainer.environment import check_ready
from ..trainer.errors import ConfigError
from ..trainer.events import Event, Failed, Finished, Stopped
from ..trainer.presets import PRESETS
from ..trainer.run import Run, Worker
from . import job, places
from .base import Base, Wires, export, find_base
from .fields import TRAIN_SETTINGS
from .follow import follow
from .inputs import ClassSetType, InstanceSetType, LoraType, setting_inputs
from .page import Page
from .pictures import read_tensor
from .wires import ClassImages, InstanceSet, TrainedLora

PRESET_HELP = "Fills in every setting that is left at its default. " + " ".join(
    f"{name}: {preset.help}" for name, preset in PRESETS.items()
)
STOPPED_HELP = "After a cancelled run with the same inputs: go on from its last step, or start over."


class TrainingFailed(Exception):
    """The worker could not go on; the text says why and what to do."""


class DreamBoothTrain(io.ComfyNode):
    """Trains a LoRA, or finds the one that was trained from the same inputs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothTrain",
            display_name="DreamBooth Train",
            category="DreamBooth",
            description="Trains a LoRA of the subject in the photos. The file lands in "
            "models/loras; cancel saves what is trained so far, and the next run goes on.",
            inputs=[
                io.Model.Input("model", tooltip="The model to train for, as the wire carries it."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                InstanceSetType.Input("instance_set", tooltip="The photos."),
                ClassSetType.Input(
                    "class_set", optional=True, tooltip="Class images; without them the trainer "
                    "makes its own if the photos have a class prompt.",
                ),
                io.Combo.Input(
                    "preset", options=[job.NO_PRESET, *PRESETS], default=job.NO_PRESET,
                    tooltip=PRESET_HELP,
                ),
                io.String.Input(
                    "output_name", default="my_subject", tooltip="Name of the LoRA file."
                ),
                io.Combo.Input(
                    "if_stopped", options=[job.GO_ON, job.START_OVER], tooltip=STOPPED_HELP
                ),
                *setting_inputs(TRAIN_SETTINGS),
            ],
            outputs=[
                LoraType.Output(display_name="lora", tooltip="For LoRA Loader (DreamBooth)."),
                io.Image.Output(display_name="loss plot"),
                io.String.Output(display_name="run folder", tooltip="Everything about this run."),
                io.String.Output(display_name="trigger prompt"),
            ],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, output_name: str) -> bool | str:
        try:
            job.output_path(Path(), output_name)
        except ConfigError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, **_inputs: Any) -> str:
        return str(job.lost_loras(places.runs_folder()))

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
        base = find_base(wires, cls.hidden.prompt, cls.hidden.unique_id)
        for text in notes(base, preset, instance_set):
            page.note("warn", "Training differs from what is wired.", text)
        values = job.with_preset(job.setting_values(settings), preset)
        output = job.output_path(places.loras_folder(), output_name)
        config = job.make_config(values, base, instance_set, class_set, output)
        key = job.fingerprint(config, base, instance_set, class_set)
        past = job.past_runs(places.runs_folder(), key)
        finished = next((run for run in past if run.lora), None)
        if finished is None:
            ...
        return result(finished, config, page)
