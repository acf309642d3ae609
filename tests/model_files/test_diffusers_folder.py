"""Which diffusers folders are bases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import ConfigError
from trainer.model_files.identify import describe, identify, predicts_velocity, require_base

from ..helpers.model_files import write_model

FolderMaker = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """A diffusers folder; the U-Net's config is given, its weights are one tensor per part."""

    def make(parts: tuple[str, ...], suffix: str = ".safetensors", **config: Any) -> Path:
        folder = tmp_path / "folder"
        folder.mkdir()
        for part in parts:
            write_model(folder / part / f"model{suffix}", {"x": (1,)})
            (folder / part / "config.json").write_text(json.dumps(config if part == "unet" else {}))
        (folder / "model_index.json").write_text('{"_class_name": "SomePipeline"}')
        return folder

    return make


SD1_PARTS = ("unet", "vae", "text_encoder")
SDXL_CONFIG = {"cross_attention_dim": 2048, "addition_embed_type": "text_time"}


@pytest.mark.parametrize(
    ("family", "parts", "config"),
    [
        ("sd1", SD1_PARTS, {"cross_attention_dim": 768}),
        ("sd1", SD1_PARTS, {"cross_attention_dim": [768, 768], "in_channels": 4}),
        ("sd2", SD1_PARTS, {"cross_attention_dim": 1024}),
        ("sdxl", (*SD1_PARTS, "text_encoder_2"), SDXL_CONFIG),
    ],
)
def test_diffusers_folder_is_accepted(
    family: str, parts: tuple[str, ...], config: dict[str, Any], make_folder: FolderMaker
) -> None:
    folder = make_folder(parts, **config)
    model = require_base(folder)
    assert (model.kind, model.family, model.path) == ("diffusers", family, folder)
    assert "loads in: diffusers" in describe(folder)


@pytest.mark.parametrize(
    ("parts", "config", "message"),
    [
        (SD1_PARTS, {"cross_attention_dim": 768, "in_channels": 9}, "an inpainting"),
        (SD1_PARTS, {"cross_attention_dim": 768, "time_cond_proj_dim": 256}, "an LCM"),
        (SD1_PARTS, {"cross_attention_dim": 1280, "addition_embed_type": "x"}, "refiner"),
        (SD1_PARTS, {"cross_attention_dim": "768"}, "a latent diffusion"),
        (SD1_PARTS, {"cross_attention_dim": 768, "in_channels": None}, "a latent diffusion"),
        (SD1_PARTS, SDXL_CONFIG, "an SDXL diffusers folder without text encoder"),
        (("unet", "text_encoder"), {"cross_attention_dim": 768}, "without VAE"),
        (("vae", "text_encoder"), {}, "'SomePipeline' model without unet/config.json"),
    ],
)
def test_other_diffusers_folders_are_refused(
    parts: tuple[str, ...],
    config: dict[str, Any],
    message: str,
    make_folder: FolderMaker,
) -> None:
    with pytest.raises(ConfigError, match=message):
        require_base(make_folder(parts, **config))


@pytest.mark.parametrize(
    ("file", "config", "message"),
    [
        ("scheduler/scheduler_config.json", {"_class_name": "EDMEulerScheduler"}, "EDM"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscrete"}, "Flow"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction"),
        ("vae/config.json", {"latents_mean": [0.1, 0.2, 0.3, 0.4]}, "latents on another scale"),
    ],
)
def test_a_folder_of_another_process_is_refused(
    file: str, config: dict[str, Any], message: str, make_folder: FolderMaker
) -> None:
    folder = make_folder((*SD1_PARTS, "text_encoder_2"), **SDXL_CONFIG)
    plain = {"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon"}
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(plain))
    (folder / "vae/config.json").write_text('{"latents_mean": null}')
    assert require_base(folder).family == "sdxl"
    (folder / file).write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=message):
        require_base(folder)


def test_folder_of_pickles_is_refused(make_folder: FolderMaker) -> None:
    folder = make_folder(SD1_PARTS, ".bin", cross_attention_dim=768)
    with pytest.raises(ConfigError, match="pickle file.*Download the folder's .safetensors"):
        identify(folder)


def test_folder_with_cut_weights_is_refused(make_folder: FolderMaker) -> None:
    folder = make_folder(SD1_PARTS, cross_attention_dim=768)
    weights = folder / "vae" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="vae.*truncated"):
        identify(folder)


def test_plain_weights_come_before_fp16_ones(make_folder: FolderMaker) -> None:
    folder = make_folder(SD1_PARTS, cross_attention_dim=768)
    write_model(folder / "unet" / "model.fp16.safetensors", {"x": (1,)})
    write_model(folder / "unet" / "a.fp16.safetensors", {"x": (1,)})
    assert identify(folder).header.path == folder / "unet" / "model.safetensors"


def test_folder_without_unet_weights_is_refused(make_folder: FolderMaker) -> None:
    folder = make_folder(SD1_PARTS, cross_attention_dim=768)
    (folder / "unet" / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="contains no .safetensors weights"):
        identify(folder)


def test_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without model_index.json"):
        identify(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", '{"a": NaN', "[" * 100_000, "\x00"])
def test_broken_folder_json_is_a_config_error(content: str, make_folder: FolderMaker) -> None:
    folder = make_folder(SD1_PARTS, cross_attention_dim=768)
    (folder / "unet" / "config.json").write_text(content)
    with pytest.raises(ConfigError, match="config.json is not"):
        identify(folder)


def test_folder_prediction_comes_from_its_scheduler(make_folder: FolderMaker) -> None:
    folder = make_folder(SD1_PARTS, cross_attention_dim=1024)
    assert predicts_velocity(folder) is None
    (folder / "scheduler").mkdir()
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text('{"prediction_type": "v_prediction"}')
    assert predicts_velocity(folder) is True
    config.write_text('{"prediction_type": "epsilon"}')
    assert predicts_velocity(folder) is False
