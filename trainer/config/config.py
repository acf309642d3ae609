"""The complete description of one training: every setting, its bounds and its help text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..errors import ConfigError
from ..files.input_file import parse_json, read_object
from .names import check_file_stem
from .settings import Setting, check_value, nearest, parse_value, setting, settings_of

CropMode = Literal["center", "random", "none"]
CaptionMode = Literal["auto", "txt", "prompt"]
PriorTarget = Literal["noise", "prediction"]
PredictionType = Literal["auto", "epsilon", "v_prediction"]
Precision = Literal["auto", "no", "fp16", "bf16"]
LRSchedule = Literal["constant", "cosine", "linear"]
MAX_CONFIG_BYTES = 10_000_000
EMBEDDED = "embedded"  # as a base: the small model that comes with the trainer
EMBEDDED_SIDE_PX = 128


@dataclass(frozen=True)
class ModelConfig:
    """The frozen base model."""

    base: str = setting(
        help="Base checkpoint: a .safetensors file of SD 1.x, 2.x or SDXL, a diffusers folder, or "
        "embedded: the small model of 128 px that comes with the trainer."
    )
    vae: str | None = setting(
        None, help="VAE file that replaces the checkpoint's own.", advanced=True
    )
    prediction_type: PredictionType = setting(
        "auto", help="What the base predicts; auto reads it from the checkpoint.", advanced=True
    )


@dataclass(frozen=True)
class InstanceConfig:
    """The photos of the subject."""

    instance_images: tuple[str, ...] = setting(
        help="Photos of the subject: a folder, or a list of files; 3 to 20 work best."
    )
    instance_prompt: str = setting(
        help='Prompt that names the subject by a rare word, as in "a photo of sks dog".'
    )
    caption_mode: CaptionMode = setting(
        "auto",
        help="auto: the .txt beside a photo, else the instance prompt; txt: a .txt must be there; "
        "prompt: always the instance prompt.",
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
        help="center or random: a square of the photo's shorter side; none: the whole photo at its "
        "own shape, with about resolution x resolution pixels.",
    )
    num_crops: int = setting(
        1, minimum=1, maximum=64, help="Different crops cached per photo.", advanced=True
    )
    flip: bool = setting(
        False, help="Also train every crop mirrored; not for faces, text or logos.", advanced=True
    )
    background: str = setting(
        "#ffffff", help="Colour behind transparent photos, as #rrggbb.", advanced=True
    )
    bad_images: Literal["refuse", "skip"] = setting(
        "refuse", help="What a photo that cannot be read does: refuse the run, or be skipped."
    )


@dataclass(frozen=True)
class PriorConfig:
    """Prior preservation: images of the class, made by the frozen base, against overfitting."""

    class_prompt: str = setting(
        "", help='Prompt of the class without the rare word, as in "a photo of a dog"; empty: off.'
    )
    num_class_images: int = setting(
        100, minimum=0, maximum=10000, help="Class images used; 0 turns prior preservation off."
    )
    class_images: str | None = setting(
        None,
        help="Folder of class images; none: made by the base model and kept for later runs.",
        advanced=True,
    )
    class_negative_prompt: str = setting(
        "", help="What class images should not show.", advanced=True
    )
    class_guidance_scale: float = setting(
        7.5,
        minimum=1,
        maximum=30,
        help="How closely class images follow their prompt (guidance scale).",
        advanced=True,
    )
    class_inference_steps: int = setting(
        25, minimum=1, maximum=200, help="Sampling steps of class images.", advanced=True
    )
    class_seed: int = setting(
        0, minimum=0, maximum=2**32 - 1, help="Class image i is made with seed class_seed + i.",
        advanced=True,
    )  # fmt: skip
    class_batch_size: int | None = setting(
        None,
        minimum=1,
        maximum=64,
        help="Class images sampled at once; none: chosen for the device.",
        advanced=True,
    )
    prior_target: PriorTarget = setting(
        "noise",
        help="What class images teach. noise: themselves, as in the paper; prediction: what the "
        "base sees in them, for one more forward pass.",
        advanced=True,
    )
    prior_loss_weight: float = setting(
        1.0, minimum=0, maximum=10, help="Weight of the class images in the loss."
    )

    @property
    def enabled(self) -> bool:
        return bool(self.class_prompt) and self.num_class_images > 0


@dataclass(frozen=True)
class LoraConfig:
    """The adapter that is trained."""

    rank: int = setting(
        16, minimum=1, maximum=256, help="Size of the LoRA; higher holds more and overfits sooner."
    )
    alpha: float | None = setting(
        None, above=0, maximum=1024, help="Strength is alpha / rank; none: rank.", advanced=True
    )
    train_text_encoder: bool = setting(
        False, help="Also train the text encoder(s); takes more time and memory."
    )
    save_precision: Literal["fp16", "bf16", "fp32"] = setting(
        "fp16", help="Number format of the LoRA file.", advanced=True
    )

    @property
    def effective_alpha(self) -> float:
        return float(self.rank) if self.alpha is None else self.alpha


@dataclass(frozen=True)
class TrainingConfig:
    """The optimization."""

    max_train_steps: int = setting(
        800, minimum=1, maximum=1_000_000, help="Optimizer updates; about 100 to 200 per photo."
    )
    learning_rate: float = setting(
        1e-4, above=0, maximum=1, help="Step size of the U-Net's adapter."
    )
    text_encoder_learning_rate: float = setting(
        5e-5, above=0, maximum=1, help="Step size of the text encoders' adapters.", advanced=True
    )
    train_batch_size: int = setting(
        1, minimum=1, maximum=64, help="Photos per forward pass; class images come on top."
    )
    gradient_accumulation_steps: int = setting(
        1, minimum=1, maximum=256, help="Forward passes per optimizer update.", advanced=True
    )
    lr_scheduler: LRSchedule = setting(
        "constant", help="Course of the learning rate after warm-up.", advanced=True
    )
    lr_warmup_steps: int = setting(
        0, minimum=0, maximum=100_000, help="Updates until the full learning rate.", advanced=True
    )
    weight_decay: float = setting(
        0.01, minimum=0, maximum=1, help="AdamW's weight decay.", advanced=True
    )
    max_grad_norm: float = setting(
        1.0, above=0, maximum=1000, help="Gradients are clipped to this norm.", advanced=True
    )
    noise_offset: float = setting(
        0.0, minimum=0, maximum=1, help="Per-channel shift of the noise; helps very dark or flat "
        "styles.", advanced=True,
    )  # fmt: skip
    snr_gamma: float | None = setting(
        None, above=0, maximum=100, help="Min-SNR loss weighting; 5 is usual.", advanced=True
    )
    mixed_precision: Precision = setting(
        "auto", help="Number format of the frozen base; the adapter is always float32."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto", help="Less memory, about 40 % slower; auto: on where memory is short.",
        advanced=True,
    )  # fmt: skip
    seed: int = setting(0, minimum=0, maximum=2**32 - 1, help="Same seed, same LoRA.")


@dataclass(frozen=True)
class SampleConfig:
    """Images drawn while training, always with the same seeds."""

    sample_every: int | None = setting(
        200, minimum=1, maximum=1_000_000, help="Steps between samples; none: only at the end."
    )
    sample_prompts: tuple[str, ...] = setting(
        (), help="Prompts of the samples; none: the instance prompt.", advanced=True
    )
    sample_negative_prompt: str = setting("", help="What samples should not show.", advanced=True)
    sample_guidance_scale: float = setting(
        7.5,
        minimum=1,
        maximum=30,
        help="How closely samples follow their prompt (guidance scale).",
        advanced=True,
    )
    sample_inference_steps: int = setting(
        20, minimum=1, maximum=200, help="Sampling steps of samples.", advanced=True
    )
    sample_seed: int = setting(
        42, minimum=0, maximum=2**32 - 1, help="Seed of the first sample.", advanced=True
    )


@dataclass(frozen=True)
class ResultConfig:
    """What is kept."""

    output: str = setting(help="The LoRA file to write; its name ends in .safetensors.")
    save_every: int | None = setting(
        200, minimum=1, maximum=1_000_000,
        help="Steps between checkpoints; none: only at the end or when stopped.", advanced=True,
    )  # fmt: skip
    checkpoints_total_limit: int = setting(
        2, minimum=1, maximum=1000, help="Checkpoints kept in the run folder.", advanced=True
    )
    description: str = setting("", help="Free text for the file's card.", advanced=True)


@dataclass(frozen=True)
class Config:
    """One training, complete and checked."""

    model: ModelConfig
    instance: InstanceConfig
    result: ResultConfig
    prior: PriorConfig = field(default_factory=PriorConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    samples: SampleConfig = field(default_factory=SampleConfig)

    def __post_init__(self) -> None:
        for name in GROUPS:
            check_group(getattr(self, name))
        check_prompts(self)
        check_output(self.result.output)
        check_side(self.model.base, self.instance.resolution)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Config:
        """Build from flat values by setting name; texts are read as the setting's own type.

        Raises:
            ConfigError: an unknown name, a missing or a bad value.
        """
        check_names(values, {spec.name for _, spec in all_settings()})
        return cls(**{name: read_group(group, values) for name, group in GROUPS.items()})

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Config:
        """Build from the nested form that `to_dict` gives."""
        return cls.from_values(flatten(document))

    @classmethod
    def from_json(cls, text: str) -> Config:
        return cls.from_dict(parse_document(text))

    def flat(self) -> dict[str, Any]:
        """Every setting by its name."""
        return flatten(self.to_dict())

    def with_paths(self, change: Callable[[str], str]) -> Config:
        """The same, with every path changed."""
        values = self.flat()
        for name in ("base", "vae", "class_images", "output"):
            if values[name] not in (None, EMBEDDED):
                values[name] = change(values[name])
        values["instance_images"] = [change(path) for path in values["instance_images"]]
        return Config.from_values(values)


Group = TypeVar("Group")
GROUPS: dict[str, type] = {
    "model": ModelConfig,
    "instance": InstanceConfig,
    "prior": PriorConfig,
    "lora": LoraConfig,
    "training": TrainingConfig,
    "samples": SampleConfig,
    "result": ResultConfig,
}


def read_group(group: type[Group], values: Mapping[str, Any]) -> Group:
    """Build one group from flat values by setting name, and check it; others are left alone.

    Raises:
        ConfigError: a missing or a bad value.
    """
    found: dict[str, Any] = {}
    for spec in settings_of(group):
        if spec.name in values:
            found[spec.name] = parse_value(spec, values[spec.name])
        elif spec.required:
            raise ConfigError(f"{spec.name} is missing.", f"Give {spec.flag}: {spec.help}")
    built = group(**found)
    check_group(built)
    return built


def check_group(group: object) -> None:
    for spec in settings_of(type(group)):
        check_value(spec, getattr(group, spec.name))


def all_settings() -> Iterator[tuple[str, Setting]]:
    """Every setting with the name of its group, in the order that user interfaces show."""
    for name, group in GROUPS.items():
        yield from ((name, spec) for spec in settings_of(group))


def parse_document(text: str) -> dict[str, Any]:
    """Read a config's JSON text into a mapping, nested or flat."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"The config is not JSON: {error}.", "Mend the file.") from error
    if not isinstance(document, dict):
        raise ConfigError("The config is not a JSON object.", 'It starts with {"model": ...}.')
    return document


def read_config_file(path: Path) -> dict[str, Any]:
    """Settings by name from a config file, nested or flat.

    Raises:
        ConfigError: it cannot be read or is no config; names the file.
    """
    return flatten(read_object(path, MAX_CONFIG_BYTES, "Give a config file."))


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Turn {group: {setting: value}} into {setting: value}; flat entries stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        found = {key: value}
        if key in GROUPS and isinstance(value, dict):
            found = value
            check_names(found, {spec.name for spec in settings_of(GROUPS[key])})
        for name in found.keys() & flat.keys():
            raise ConfigError(f"{name!r:.80} is given twice.", "Leave one of the two.")
        flat |= found
    return flat


def check_names(values: Mapping[str, Any], known: set[str]) -> None:
    for name in values:
        if name not in known:
            raise ConfigError(f"There is no setting {name!r:.80}.", nearest(name, known))


def check_prompts(config: Config) -> None:
    if not config.instance.instance_prompt.strip():
        raise ConfigError(
            "instance_prompt is empty.", 'Name the subject, as in "a photo of sks dog".'
        )
    if not config.instance.instance_images:
        raise ConfigError("instance_images is empty.", "Give a folder or a list of photos.")


def check_side(base: str, resolution: int) -> None:
    if base == EMBEDDED and resolution != EMBEDDED_SIDE_PX:
        raise ConfigError(
            f"The embedded model knows pictures of {EMBEDDED_SIDE_PX} px, not of {resolution}.",
            f"Set resolution to {EMBEDDED_SIDE_PX}.",
        )


def check_output(output: str) -> None:
    """Refuse an output path that is no plain .safetensors file name on every system."""
    stem, dot, suffix = output.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if not dot or suffix != "safetensors":
        raise ConfigError(
            f"output {output!r:.200} is no LoRA file name.", "End it in .safetensors."
        )
    check_file_stem(stem, "output")
