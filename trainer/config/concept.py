"""A concept: the photos of one subject, and the class images that protect its class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .settings import setting

__all__ = [
    "CaptionMode",
    "ConceptConfig",
    "CropMode",
    "InstanceConfig",
    "PriorConfig",
    "PriorTarget",
]

CropMode = Literal["center", "random", "none"]
CaptionMode = Literal["auto", "txt", "prompt"]
PriorTarget = Literal["noise", "prediction"]


@dataclass(frozen=True)
class InstanceConfig:
    """The photos of the subject."""

    instance_images: tuple[str, ...] = setting(
        help="Photos of the subject: a folder or a list of files. 3 to 20 work best."
    )
    instance_prompt: str = setting(
        help='Prompt that names the subject with a rare word, such as "a photo of sks dog".'
    )
    caption_mode: CaptionMode = setting(
        "auto",
        help="auto: the .txt file next to a photo if there is one, else the instance prompt; txt: "
        "every photo needs a .txt file; prompt: always the instance prompt.",
        advanced=True,
    )
    resolution: int = setting(
        512,
        minimum=64,
        maximum=2048,
        multiple_of=64,
        help="Side of the training images in pixels: 512 for SD 1.x, 768 for SD 2.x v-prediction, "
        "1024 for SDXL.",
    )
    crop_mode: CropMode = setting(
        "center",
        help="center or random: a square as large as the photo's shorter side; none: the whole "
        "photo in its own aspect ratio, with about resolution x resolution pixels.",
    )
    num_crops: int = setting(
        1, minimum=1, maximum=64, help="Different crops of each photo.", advanced=True
    )
    flip: bool = setting(
        False,
        help="Also train a mirrored copy of every crop. Not for faces, text or logos.",
        advanced=True,
    )
    background: str = setting(
        "#ffffff", help="Background color for transparent photos, as #rrggbb.", advanced=True
    )
    bad_images: Literal["refuse", "skip"] = setting(
        "refuse",
        help="Unreadable photos: stop with an error (refuse) or leave them out (skip).",
    )
    concept_weight: int = setting(
        1,
        minimum=1,
        maximum=1000,
        help="With several concepts: how often this one is trained, relative to the others.",
        advanced=True,
    )


@dataclass(frozen=True)
class PriorConfig:
    """Prior preservation: images of the class, made by the frozen base, against overfitting."""

    class_prompt: str = setting(
        "",
        help='Prompt for the class without the rare word, such as "a photo of a dog". Empty: no '
        "class images.",
    )
    num_class_images: int = setting(
        100, minimum=0, maximum=10000, help="Number of class images; 0 turns them off."
    )
    class_images: str | None = setting(
        None,
        help="Folder of class images. None: the base model generates them, and later runs reuse "
        "them.",
        advanced=True,
    )
    class_negative_prompt: str = setting(
        "", help="Negative prompt for class images.", advanced=True
    )
    class_guidance_scale: float = setting(
        7.5, minimum=1, maximum=30, help="Guidance scale (CFG) for class images.", advanced=True
    )
    class_inference_steps: int = setting(
        25, minimum=1, maximum=200, help="Sampling steps for class images.", advanced=True
    )
    class_seed: int = setting(
        0,
        minimum=0,
        maximum=2**32 - 1,
        help="Class image i is generated with seed class_seed + i.",
        advanced=True,
    )
    class_batch_size: int | None = setting(
        None,
        minimum=1,
        maximum=64,
        help="Class images generated at once. None: chosen for the device.",
        advanced=True,
    )
    prior_target: PriorTarget = setting(
        "noise",
        help="Training target for class images: the added noise (as in the paper), or the base "
        "model's own prediction (one extra forward pass).",
        advanced=True,
    )
    prior_loss_weight: float = setting(
        1.0, minimum=0, maximum=10, help="Weight of the class images in the loss."
    )

    @property
    def enabled(self) -> bool:
        """Whether class images are trained."""
        return bool(self.class_prompt) and self.num_class_images > 0


@dataclass(frozen=True)
class ConceptConfig:
    """One subject to learn: its photos, and the class images that protect its class."""

    instance: InstanceConfig
    prior: PriorConfig = field(default_factory=PriorConfig)
