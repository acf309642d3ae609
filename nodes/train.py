"""The node that trains a LoRA or the model itself from photos in a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..trainer.config.presets import PRESETS
from ..trainer.environment.environment import check_ready
from ..trainer.errors import ConfigError
from . import job, places
from .base import Wires, family_of, find_base
from .fields import TRAIN_ADVANCED, TRAIN_BASIC, TRAIN_SETTINGS, chosen_inputs
from .inputs import ClassSetType, InstanceSetType, ResultType, advanced_inputs, setting_inputs
from .page import Page
from .presets import NO_PRESET, OPTIONS, page_values, require_family, with_preset
from .wires import ClassImages, InstanceSet, require_kind

__all__ = ["NODES"]

PRESET_HELP = "Fills in the fields here and on the connected nodes. " + " ".join(
    f"{name}: {preset.help}" for name, preset in PRESETS.items()
)
FILLED_HELP = "Set by the page once it shows a preset's values: what it shows is trained, as it is."
STOPPED_HELP = (
    "After a canceled run with the same inputs: resume from its last step, or start over."
)


class DreamBoothTrain(io.ComfyNode):
    """Trains a LoRA or the model itself, or reuses what was trained from the same inputs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothTrain",
            display_name="DreamBooth Train",
            category="DreamBooth",
            description="Trains a LoRA on photos of a subject and saves it to models/loras. With "
            "method full it trains the model itself and saves a checkpoint to models/checkpoints. "
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
                preset_input(),
                io.String.Input(
                    "output_name", default="my_subject",
                    tooltip="File name of the LoRA or checkpoint.",
                ),
                *setting_inputs(TRAIN_BASIC),
                io.Combo.Input(
                    "if_stopped", options=[job.RESUME, job.START_OVER], tooltip=STOPPED_HELP
                ),
                *advanced_inputs(TRAIN_ADVANCED),
                io.Boolean.Input(
                    "preset_filled", default=False, optional=True, tooltip=FILLED_HELP
                ),
            ],
            outputs=[
                ResultType.Output(
                    display_name="result",
                    tooltip="LoRA or checkpoint, for LoRA Loader (DreamBooth).",
                ),
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
        preset_filled: bool = False,
        **settings: Any,
    ) -> io.NodeOutput:
        from . import training  # here, to keep ComfyUI's start fast

        require_kind(InstanceSet, "instance_set", instance_set)
        if class_set is not None:
            require_kind(ClassImages, "class_set", class_set)
        check_ready()
        wires, page = Wires(model, clip, vae), Page(cls.hidden.unique_id)
        require_family(preset, family_of(model))
        page.text("Checking the model …", begins=True)
        base = find_base(wires, cls.hidden.prompt, cls.hidden.unique_id)
        own = chosen_inputs(settings, TRAIN_SETTINGS)
        values = with_preset(job.setting_values(own), preset, shown=preset_filled)
        output = job.output_path(places.results_folder(values.get("method")), output_name)
        config = job.make_config(values, base, instance_set, class_set, output)
        training.show_notes(page, base, preset, instance_set)
        key = job.fingerprint(config, base, instance_set, class_set)
        done, report = training.finished_run(
            training.Request(config, key, instance_set, if_stopped), base, wires, page
        )
        return training.result(done, report)


def preset_input() -> Any:
    """Return the list of presets, with the values that the page fills in."""
    options = list(OPTIONS)
    made = io.Combo.Input("preset", options=options, default=NO_PRESET, tooltip=PRESET_HELP)
    made.extra_dict = {"dreambooth_presets": page_values()}
    return made


NODES = [DreamBoothTrain]
