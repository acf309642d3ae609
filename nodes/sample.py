"""Pictures of the trained subject: several prompts, several seeds, one labelled sheet."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from .base import Wires
from .fields import SETTINGS
from .grid import Row, labelled_grid
from .inputs import setting_input
from .pictures import to_picture, to_tensor
from .prompts import filled_prompts
from .sampling import Drawer, Sampler, sampler_inputs

SIZE = {"default": 512, "min": 64, "max": 2048, "step": 8}
PROMPTS = "a photo of {subject}\n{subject} on a beach\na watercolor painting of {subject}"


class Sample(io.ComfyNode):
    """Draws each prompt with the same seeds."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothSample",
            display_name="Sample (DreamBooth)",
            category="DreamBooth",
            description="Draws several prompts with the same seeds, to see what a LoRA has "
            "learned: every picture, and one sheet of all with their prompts.",
            inputs=[
                io.Model.Input("model"),
                io.Clip.Input("clip"),
                io.Vae.Input("vae"),
                io.String.Input(
                    "prompts", multiline=True, default=PROMPTS, dynamic_prompts=False,
                    tooltip='One a line. {subject} becomes the subject of the trigger prompt: '
                    '"sks dog" of "a photo of sks dog".',
                ),
                io.String.Input("negative_prompt", default="", tooltip="What not to show."),
                io.Int.Input(
                    "num_images", default=2, min=1, max=64, tooltip="Pictures of each prompt."
                ),
                io.Int.Input("width", tooltip="Of each picture, in pixels.", **SIZE),
                io.Int.Input("height", tooltip="Of each picture, in pixels.", **SIZE),
                io.Int.Input(
                    "seed", default=42, min=0, max=2**32 - 1, control_after_generate=True,
                    tooltip="Of each prompt's first picture; the next has seed + 1.",
                ),
                setting_input(SETTINGS["sample_inference_steps"], "steps"),
                setting_input(SETTINGS["sample_guidance_scale"], "cfg"),
                *sampler_inputs(),
                io.String.Input(
                    "trigger", optional=True, force_input=True,
                    tooltip="The trigger prompt of DreamBooth Train or LoRA Loader (DreamBooth).",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="Every picture."),
                io.Image.Output(display_name="sheet", tooltip="All of them with their prompts."),
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
        **sampler: Any,
    ) -> io.NodeOutput:
        lines = filled_prompts(prompts, trigger)
        drawer = Drawer(Wires(model, clip, vae), Sampler(**sampler), len(lines) * num_images)
        negative = drawer.encode(negative_prompt)
        rows: list[list[Tensor]] = []
        for line in lines:
            positive = drawer.encode(line)
            rows.append([drawer.draw(positive, negative, seed + i) for i in range(num_images)])
        sheet = to_tensor(labelled_grid([row(*pair) for pair in zip(lines, rows, strict=True)]))
        images = torch.cat([image for images in rows for image in images])
        return io.NodeOutput(images, sheet, ui=ui.PreviewImage(sheet, cls=cls))


def row(label: str, images: list[Tensor]) -> Row:
    return Row(label, [to_picture(image) for image in images])


NODES = [Sample]
