"""Class images for prior preservation, drawn by ComfyUI's own sampler and kept."""

from __future__ import annotations

import json
from typing import Any

from comfy_api.latest import io

from ..trainer.class_set import SETTINGS_FILE, ClassSet, class_set
from ..trainer.config import PriorConfig, read_group
from ..trainer.errors import ConfigError
from ..trainer.run import write_atomic
from . import places
from .base import Wires, find_base
from .fields import CLASS_SETTINGS, SETTINGS
from .inputs import ClassSetType, setting_input
from .page import Page
from .pictures import read_tensors, write_picture
from .sampling import Drawer, Sampler, sampler_inputs
from .wires import ClassImages

SHOWN = 16  # pictures that the node shows and hands on; all of them could be gigabytes


class GenerateClassImages(io.ComfyNode):
    """Draws what is missing of a set of class images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothGenerateClassImages",
            display_name="Generate Class Images",
            category="DreamBooth",
            description="Draws images of the class with the model itself. Trained beside the "
            "photos, they keep the model from forgetting what other members of the class look "
            "like. Images are kept: only missing ones are drawn.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will be trained."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                *(setting_input(SETTINGS[at], name) for name, at in CLASS_SETTINGS.items()),
                *sampler_inputs(),
            ],
            outputs=[
                ClassSetType.Output(display_name="class set", tooltip="For DreamBooth Train."),
                io.Image.Output(display_name="images", tooltip=f"The first {SHOWN} images."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, sampler_name: str, scheduler: str, **settings: Any
    ) -> io.NodeOutput:
        values = {CLASS_SETTINGS[name]: value for name, value in settings.items()}
        prior, side = read_group(PriorConfig, values), values["resolution"]
        check(prior, side)
        wires, page = Wires(model, clip, vae), Page(cls.hidden.unique_id)
        base = find_base(wires, cls.hidden.prompt, cls.hidden.unique_id)
        sampler = Sampler(
            sampler_name,
            scheduler,
            prior.class_inference_steps,
            prior.class_guidance_scale,
            side,
            side,
        )
        images = class_set(
            places.cache_folder(), set_settings(prior, sampler, base.shaping, clip.layer_idx)
        )
        report = draw_missing(images, prior, wires, sampler, page)
        paths = images.paths(prior.num_class_images)
        shown = paths[:SHOWN]
        ui = {"images": [places.page_image(path) for path in shown], "report": [report]}
        wire = ClassImages(images.folder, len(paths), images.settings)
        return io.NodeOutput(wire, read_tensors(shown), ui=ui)


def check(prior: PriorConfig, resolution: int) -> None:
    if not prior.class_prompt.strip():
        raise ConfigError("class_prompt is empty.", 'Name the class, as in "a photo of a dog".')
    if prior.num_class_images < 1:
        raise ConfigError("num_class_images is 0.", "Give at least 1, or remove the node.")


def set_settings(
    prior: PriorConfig, sampler: Sampler, base: dict[str, str], layer: int | None
) -> dict[str, Any]:
    """Everything that shapes the images, but their number."""
    return {
        **base,
        "clip_layer": layer,
        "class_prompt": prior.class_prompt,
        "negative_prompt": prior.class_negative_prompt,
        "guidance_scale": sampler.cfg,
        "inference_steps": sampler.steps,
        "seed": prior.class_seed,
        "width": sampler.width,
        "height": sampler.height,
        "sampler": f"ComfyUI {sampler.sampler_name} {sampler.scheduler}",
    }


def draw_missing(
    images: ClassSet, prior: PriorConfig, wires: Wires, sampler: Sampler, page: Page
) -> str:
    """Draw and keep, one by one, the images that are not there yet; say how many were."""
    count = prior.num_class_images
    missing = images.missing(count)
    report = f"{count} class images: {count - len(missing)} reused, {len(missing)} new"
    page.text(report)
    if not missing:
        return report
    images.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(images.folder / SETTINGS_FILE, json.dumps(dict(images.settings), indent=2))
    drawer = Drawer(wires, sampler, len(missing))
    positive = drawer.encode(prior.class_prompt)
    negative = drawer.encode(prior.class_negative_prompt)
    for index in missing:
        write_picture(images.path(index), drawer.draw(positive, negative, prior.class_seed + index))
    return report


NODES = [GenerateClassImages]
