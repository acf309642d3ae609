"""The node that samples several prompts and seeds into one labeled grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..trainer.config.settings import Setting, check_text, check_value
from ..trainer.errors import ConfigError
from ..trainer.photos.pictures import Row, labelled_grid
from ..trainer.prompts.lists import PROMPT_LISTS
from .base import Wires
from .fields import SETTINGS, chosen_inputs
from .inputs import setting_input
from .pictures import to_picture, to_tensor
from .prompts import OWN_PROMPTS, filled_prompts, listed_prompts
from .sampling import Drawer, Sampler, sampler_inputs

__all__ = ["NODES"]

NUMBERS = {
    "num_images": Setting("num_images", int, 2, "Images per prompt.", minimum=1, maximum=64),
    "width": Setting(
        "width", int, 512, "Image width in pixels.", minimum=64, maximum=2048, multiple_of=8
    ),
    "height": Setting(
        "height", int, 512, "Image height in pixels.", minimum=64, maximum=2048, multiple_of=8
    ),
    "seed": Setting(
        "seed", int, 42, "Seed of each prompt's first image; the next uses seed + 1.",
        minimum=0, maximum=2**32 - 1,
    ),
    "steps": replace(SETTINGS["sample_inference_steps"], name="steps"),
    "cfg": replace(SETTINGS["sample_guidance_scale"], name="cfg"),
}  # fmt: skip
MAX_IMAGES = 256  # all of them are in memory at once
PROMPTS = "a photo of {subject}\n{subject} on a beach\na watercolor painting of {subject}"


class Sample(io.ComfyNode):
    """Samples each prompt with the same seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothSample",
            display_name="Sample (DreamBooth)",
            category="DreamBooth",
            description="Generates several prompts with the same seeds, to see what was "
            "learned.",
            inputs=[
                io.Model.Input("model", tooltip="Model with what was trained."),
                io.Clip.Input("clip", tooltip="Text encoder with what was trained."),
                io.Vae.Input("vae", tooltip="VAE of the model."),
                io.String.Input(
                    "prompts", multiline=True, default=PROMPTS, dynamic_prompts=False,
                    tooltip='One per line. {subject} is replaced by the subject of the trigger '
                    'prompt: "sks dog" for "a photo of sks dog".',
                ),
                io.String.Input("negative_prompt", default="", tooltip="What to avoid in images."),
                *number_inputs(),
                *sampler_inputs(),
                io.Combo.Input(
                    "prompt_list", options=[OWN_PROMPTS, *PROMPT_LISTS], default=OWN_PROMPTS,
                    optional=True, tooltip="Prompts for trying out, used instead of those above: "
                    "other places, art, views, accessories, materials and colors, expressions.",
                ),
                io.String.Input(
                    "trigger", optional=True, force_input=True,
                    tooltip="From DreamBooth Train or LoRA Loader (DreamBooth).",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="All images."),
                io.Image.Output(display_name="sheet", tooltip="Labeled grid of all images."),
            ],
            is_output_node=True,
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        prompts: str,
        negative_prompt: str,
        num_images: int,
        seed: int,
        trigger: str = "",
        prompt_list: str = OWN_PROMPTS,
        **sampler: Any,
    ) -> io.NodeOutput:
        sampler = chosen_inputs(sampler, (spec.name for spec in fields(Sampler)))
        check_numbers({"num_images": num_images, "seed": seed, **sampler})
        check_text("negative_prompt", negative_prompt)
        lines = filled_prompts(listed_prompts(prompt_list, prompts), trigger)
        total = require_few(len(lines) * num_images)
        drawer = Drawer(Wires(model, clip, vae), Sampler(**sampler), total)
        negative = drawer.encode(negative_prompt)
        rows: list[list[Tensor]] = []
        for line in lines:
            positive = drawer.encode(line)
            rows.append([drawer.draw(positive, negative, seed + i) for i in range(num_images)])
        sheet = to_tensor(labelled_grid([row(*pair) for pair in zip(lines, rows, strict=True)]))
        images = torch.cat([image for images in rows for image in images])
        return io.NodeOutput(images, sheet, ui=ui.PreviewImage(sheet, cls=cls))


def number_inputs() -> list[Any]:
    inputs = {name: setting_input(spec) for name, spec in NUMBERS.items()}
    inputs["seed"].control_after_generate = True
    return list(inputs.values())


def check_numbers(given: Mapping[str, Any]) -> None:
    """Check the numbers, since ComfyUI does not check NaN or values from a wire."""
    for name, spec in NUMBERS.items():
        check_value(spec, given[name])


def require_few(total: int) -> int:
    if total > MAX_IMAGES:
        raise ConfigError(
            f"prompts and num_images ask for {total:,} images.", f"Use at most {MAX_IMAGES}."
        )
    return total


def row(label: str, images: list[Tensor]) -> Row:
    return Row(label, [to_picture(image) for image in images])


NODES = [Sample]
