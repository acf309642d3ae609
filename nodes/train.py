"""The node that trains a LoRA from photos in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..trainer.config.presets import PRESETS
from ..trainer.environment.environment import check_ready
from ..trainer.errors import ConfigError
from . import job, places
from .base import Wires, find_base
from .fields import TRAIN_ADVANCED, TRAIN_BASIC, TRAIN_SETTINGS, chosen_inputs
from .inputs import ClassSetType, InstanceSetType, LoraType, advanced_inputs, setting_inputs
from .page import Page
from .wires import ClassImages, InstanceSet, require_kind

__all__ = ["NODES"]

PRESET_HELP = "Fills in the settings that are left at their defaults. " + " ".join(
    f"{name}: {preset.help}" for name, preset in PRESETS.items()
)
STOPPED_HELP = (
    "After a canceled run with the same inputs: resume from its last step, or start over."
)


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
        from ..trainer.runs.history import lost_results  # here, to keep ComfyUI's start fast

        return str(lost_results(places.runs_folder(), places.result_folders()))

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
        from . import training  # here, to keep ComfyUI's start fast

        require_kind(InstanceSet, "instance_set", instance_set)
        if class_set is not None:
            require_kind(ClassImages, "class_set", class_set)
        check_ready()
        wires, page = Wires(model, clip, vae), Page(cls.hidden.unique_id)
        page.text("Checking the model …")
        base = find_base(wires, cls.hidden.prompt, cls.hidden.unique_id)
        own = chosen_inputs(settings, TRAIN_SETTINGS)
        values = job.with_preset(job.setting_values(own), preset)
        output = job.output_path(places.loras_folder(), output_name)
        config = job.make_config(values, base, instance_set, class_set, output)
        training.show_notes(page, base, preset, instance_set)
        key = job.fingerprint(config, base, instance_set, class_set)
        done, report = training.finished_run(
            training.Request(config, key, instance_set, if_stopped), base, wires, page
        )
        return training.result(done, report, page)


NODES = [DreamBoothTrain]
