"""The node that loads, checks and crops the photos of a subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management as mm
from comfy_api.latest import io, ui
from torch import Tensor

from ..trainer.config.concept import InstanceConfig
from ..trainer.config.config import read_group
from ..trainer.config.fields import from_field
from ..trainer.config.settings import check_value
from ..trainer.errors import ConfigError
from ..trainer.files.fingerprint import file_sha256, settings_key
from . import places
from .checks import check_prompts
from .fields import PHOTO_ADVANCED, PHOTO_BASIC, SETTINGS, chosen_inputs
from .inputs import InstanceSetType, PhotosType, advanced_inputs, setting_inputs
from .page import Page
from .pictures import to_tensor
from .wires import InstanceSet, require_kind

if TYPE_CHECKING:
    from .photo_set import PhotoSet

__all__ = ["NODES"]

MAX_PHOTOS = 1000
NO_PHOTOS = "There are no photos. Add some or set a folder."
SHOWN = 64  # crops in the preview and output; all of them could be gigabytes
PHOTO_HELP = "Photos of the subject. Add several at once by the button, or drop them on the node."
FOLDER_HELP = (
    "Folder of photos to use instead of uploads: a folder name in ComfyUI's input folder, or the "
    "full path of a folder that is listed in extra_model_paths.yaml."
)

SET_HELP = (
    "Another Load Instance Images: both subjects are trained together. Give each its own rare word."
)


class LoadInstanceImages(io.ComfyNode):
    """Loads photos and shows the training crops."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DreamBoothLoadInstanceImages",
            display_name="Load Instance Images",
            category="DreamBooth",
            description="Loads 3 to 20 photos of a subject, crops them for training and reports "
            "what could be improved.",
            inputs=[
                PhotosType.Input("photos", tooltip=PHOTO_HELP),
                io.String.Input("folder", default="", tooltip=FOLDER_HELP),
                *setting_inputs(PHOTO_BASIC),
                *advanced_inputs(PHOTO_ADVANCED),
                InstanceSetType.Input("instance_set", optional=True, tooltip=SET_HELP),
            ],
            outputs=[
                InstanceSetType.Output(
                    display_name="instance set", tooltip="For DreamBooth Train."
                ),
                io.Image.Output(
                    display_name="crops",
                    is_output_list=True,
                    tooltip=f"The training crops, at most {SHOWN}.",
                ),
                io.String.Output(display_name="report", tooltip="What could be improved."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, photos: Any = None, folder: Any = None) -> bool | str:
        """Refuse a node without photos before any other begins; None comes over a wire."""
        return NO_PHOTOS if photos in ("", []) and folder == "" else True

    @classmethod
    def fingerprint_inputs(cls, photos: Any = "", folder: Any = "", **_: Any) -> str | float:
        from .photo_set import find_photos  # here, to keep ComfyUI's start fast

        if photos is None or folder is None:  # over a wire, which is not known yet
            return float("nan")
        try:
            return contents_key(find_photos(sources(photos, folder)))
        except (ConfigError, OSError, ValueError) as error:
            return str(error)  # execute reports it

    @classmethod
    def execute(
        cls,
        photos: Any,
        folder: str,
        class_prompt: str,
        instance_set: InstanceSet | None = None,
        **settings: Any,
    ) -> io.NodeOutput:
        page = Page(cls.hidden.unique_id)
        check_value(SETTINGS["class_prompt"], class_prompt)
        if instance_set is not None:
            require_kind(InstanceSet, "instance_set", instance_set)
        images = tuple(str(path) for path in sources(photos, folder))
        own = chosen_inputs(settings, (*PHOTO_BASIC, *PHOTO_ADVANCED))
        values = {name: from_field(SETTINGS[name], value) for name, value in own.items()}
        config = read_group(InstanceConfig, {**values, "instance_images": images})
        if not config.instance_prompt.strip():
            hint = 'Name the subject by a rare word, as in "a photo of sks dog".'
            raise ConfigError("instance_prompt is empty.", hint)
        check_prompts(config.instance_prompt, class_prompt)
        photo_set = load_set(config, page)
        crops = [to_tensor(crop.image) for crop in photo_set.crops]
        seen = frozenset(note.message for note in photo_set.report.warnings())
        others = () if instance_set is None else instance_set.subjects
        wire = InstanceSet(config, class_prompt, photo_set.key, seen, others)
        text = photo_set.report.text().strip()
        return io.NodeOutput(wire, crops, text, ui={**shown(crops, cls), "report": [text]})


def load_set(config: InstanceConfig, page: Page) -> PhotoSet:
    """Load the photos, with the progress under the node, and notes on those that are skipped."""
    from .photo_set import load_photo_set, skipped_texts

    def on_photo(done: int, total: int) -> None:
        mm.throw_exception_if_processing_interrupted()
        page.text(f"Reading photos {done}/{total}")

    skipped: list[ConfigError] = []
    try:
        return load_photo_set(config, SHOWN, skipped.append, on_photo)
    finally:
        for text in skipped_texts(skipped):
            page.note("warn", "Photo skipped", text)


def sources(photos: Any, folder: Any) -> list[Path]:
    """Return the folder, or else the uploaded files.

    Raises:
        ConfigError: there are no photos, too many, one is missing, or a file may not be read.
    """
    from .photo_set import CaptionFiles, photos_at

    if not isinstance(folder, str):
        raise ConfigError(f"folder is {folder!r:.80}.", "Set it to the name of a folder.")
    given = [places.photo_folder(folder)] if folder.strip() else uploaded_photos(photos)
    found = [photo for source in given for photo in photos_at(source)]
    if len(found) > MAX_PHOTOS:
        hint = f"Use at most {MAX_PHOTOS:,}; 3 to 20 work best for a subject."
        raise ConfigError(f"There are {len(found):,} photos.", hint)
    captions = CaptionFiles()
    places.check_readable(file for path in found for file in (path, *captions.of(path)))
    return given


def uploaded_photos(photos: Any) -> list[Path]:
    """Return the files that the node's photos name: one name or a list of names."""
    names = [photos] if isinstance(photos, str) else photos
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"photos is {photos!r:.80}.", "Add photos or set a folder.")
    found = [places.uploaded_file(name) for name in names if name]
    if not found:
        raise ConfigError("There are no photos.", "Add some or set a folder.")
    return found


def contents_key(paths: Sequence[Path]) -> str:
    """Return a key for the contents of photos and their caption files."""
    from .photo_set import CaptionFiles

    captions = CaptionFiles()
    texts = (file for path in paths for file in captions.of(path))
    files = [path for path in (*paths, *texts) if path.is_file()]
    return settings_key({"files": [(path.name, file_sha256(path)) for path in files]})


def shown(crops: Sequence[Tensor], cls: Any) -> dict[str, Any]:
    """Return the node's preview; crops can differ in size."""
    previews = [ui.PreviewImage(crop, cls=cls).as_dict() for crop in crops]
    return {"images": [image for preview in previews for image in preview["images"]]}


NODES = [LoadInstanceImages]
