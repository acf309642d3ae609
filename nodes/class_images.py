"""The node that generates class images for prior preservation with ComfyUI's own sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import comfy.model_management as mm
from comfy_api.latest import io

from ..trainer.config.concept import PriorConfig
from ..trainer.config.config import read_group
from ..trainer.config.fields import from_field, to_field
from ..trainer.config.settings import check_value
from ..trainer.errors import ConfigError
from ..trainer.photos.class_set import ClassSet, class_set
from . import places
from .base import Wires, family_of, find_base, usual_side
from .checks import check_trainings
from .class_sets import complete, report_text, shaping_settings
from .fields import CLASS_SETTINGS, SETTINGS, chosen_inputs
from .inputs import ClassSetType, InstanceSetType, setting_input
from .page import Page
from .pictures import read_tensors, write_picture
from .sampling import Drawer, Sampler, sampler_inputs
from .wires import ClassImages, InstanceSet, require_kind

__all__ = ["NODES"]

PHOTOS_HELP = (
    "From Load Instance Images: the class images get its class prompt and resolution, and the ones "
    "here do not count."
)
SHOWN = 16  # images in the preview and output; all of them could be gigabytes


class GenerateClassImages(io.ComfyNode):
    """Generates the missing images of a class set."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothGenerateClassImages",
            display_name="Generate Class Images",
            category="DreamBooth",
            description="Generates images of the subject's class with the base model. Trained "
            "together with the photos, they keep the model from turning the whole class into the "
            "subject. Images are cached; only missing ones are generated.",
            inputs=[
                io.Model.Input("model", tooltip="Base model, the same as for DreamBooth Train."),
                io.Clip.Input("clip", tooltip="Text encoder of the base model."),
                io.Vae.Input("vae", tooltip="VAE of the base model."),
                *(setting_input(SETTINGS[at], name) for name, at in CLASS_SETTINGS.items()),
                *sampler_inputs(),
                InstanceSetType.Input("instance_set", optional=True, tooltip=PHOTOS_HELP),
            ],
            outputs=[
                ClassSetType.Output(display_name="class set", tooltip="For DreamBooth Train."),
                io.Image.Output(display_name="images", tooltip=f"Class images, at most {SHOWN}."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        clip: Any,
        vae: Any,
        sampler_name: str,
        scheduler: str,
        instance_set: InstanceSet | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        prior, side = read_settings({**settings, **of_photos(instance_set)})
        graph, node = cls.hidden.prompt, cls.hidden.unique_id
        check_trainings(graph, node, prior.class_prompt, family_of(model))
        side = side or usual_side(model)
        sampler = Sampler(
            sampler_name,
            scheduler,
            prior.class_inference_steps,
            prior.class_guidance_scale,
            side,
            side,
        )
        wires, page = Wires(model, clip, vae), Page(node)
        base = find_base(wires, graph, node)
        how = {**asdict(sampler), "clip_layer": clip.layer_idx}
        images = class_set(places.cache_folder(), shaping_settings(prior, base.shaping, how))
        report = report_text(images, prior.num_class_images)
        page.text(report)
        draw_missing(images, prior, wires, sampler, page)
        return result(images, prior.num_class_images, report)


def of_photos(photos: InstanceSet | None) -> dict[str, Any]:
    """Return the inputs that the photos on the wire bring, which are then asked only once.

    Raises:
        ConfigError: they have no class prompt, or another node is connected.
    """
    if photos is None:
        return {}
    require_kind(InstanceSet, "instance_set", photos)
    if not photos.class_prompt.strip():
        raise ConfigError(
            "The class prompt of Load Instance Images is empty.",
            'Name the class there, as in "a photo of a dog".',
        )
    side = to_field(SETTINGS["resolution"], photos.config.resolution)
    return {"class_prompt": photos.class_prompt, "resolution": side}


def read_settings(given: Mapping[str, Any]) -> tuple[PriorConfig, int | None]:
    """Return the settings by the trainer's names, and the side of the images if it is set.

    Raises:
        ConfigError: a value is invalid.
    """
    own = chosen_inputs(given, CLASS_SETTINGS)
    names = {CLASS_SETTINGS[name]: value for name, value in own.items()}
    values = {name: from_field(SETTINGS[name], value) for name, value in names.items()}
    prior, side = read_group(PriorConfig, values), values["resolution"]
    check_value(SETTINGS["resolution"], side)
    if not prior.class_prompt.strip():
        raise ConfigError("class_prompt is empty.", 'Name the class, as in "a photo of a dog".')
    if prior.num_class_images < 1:
        raise ConfigError("num_class_images is 0.", "Set it to at least 1, or remove the node.")
    return prior, side


def draw_missing(
    images: ClassSet, prior: PriorConfig, wires: Wires, sampler: Sampler, page: Page
) -> None:
    """Generate and save the missing images one by one."""

    def make(missing: Sequence[int]) -> None:
        drawer = Drawer(wires, sampler, len(missing))
        positive = drawer.encode(prior.class_prompt)
        negative = drawer.encode(prior.class_negative_prompt)
        for index in missing:
            picture = drawer.draw(positive, negative, prior.class_seed + index)
            write_picture(images.path(index), picture)

    check = mm.throw_exception_if_processing_interrupted
    complete(images, prior.num_class_images, check=check, show=page.text, make=make)


def result(images: ClassSet, count: int, report: str) -> io.NodeOutput:
    """Return the node's outputs and preview."""
    shown = images.paths(min(count, SHOWN))
    ui = {"images": [places.page_image(path) for path in shown], "report": [report]}
    wire = ClassImages(images.folder, count, images.settings)
    return io.NodeOutput(wire, read_tensors(shown), ui=ui)


NODES = [GenerateClassImages]
