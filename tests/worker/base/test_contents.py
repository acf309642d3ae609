"""What a base's file holds is what is computed: scales, spellings, structures, shards, NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.random_checkpoint import random_tensor
from tests.worker.base.test_models import outputs, save_folder
from tests.worker.training.test_train import run_training
from trainer.config.model import ModelConfig
from trainer.errors import ConfigError
from trainer.model_files.contents import UNET_PREFIX
from trainer.model_files.unet_structure import Level, UNetStructure, unet_tensors
from trainer.worker.base import models
from trainer.worker.base.parts import Parts

LAYER = f"{UNET_PREFIX}middle_block.1.transformer_blocks.0.attn1.to_q"
PROJECTION = "conditioner.embedders.1.model.text_projection"


def parts_of(path: Path, dtype: torch.dtype = torch.float32) -> Parts:
    base = models.open_base(ModelConfig(str(path)))
    return Parts(base, torch.device("cpu"), dtype, lambda event: None)


def save(weights: dict[str, torch.Tensor], path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    return path


@pytest.mark.parametrize("spelling", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [False, True], ids=["one scale", "a scale per row"])
def test_eight_bit_weights_are_multiplied_by_their_scale(tiny_checkpoint, tmp_path, spelling, rows):
    weights = load_file(tiny_checkpoint("sd1"))
    plain = weights[f"{LAYER}.weight"].float()
    largest = plain.abs().amax(1, keepdim=True) if rows else plain.abs().max()
    scale = largest / 448
    weights[f"{LAYER}.weight"] = (plain / scale).to(torch.float8_e4m3fn)
    weights[f"{LAYER}.{spelling}"] = scale
    unet = parts_of(save(weights, tmp_path / "fp8.safetensors")).unet
    found = unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight
    torch.testing.assert_close(found, plain, atol=float(largest.max()) / 16, rtol=0.07)


def test_a_text_projection_is_read_in_either_spelling(tiny_checkpoint, tmp_path):
    weights = load_file(tiny_checkpoint("sdxl"))
    usual = models.load_text_encoders(parts_of(tiny_checkpoint("sdxl")).base, torch.float32)[1]
    weights[f"{PROJECTION}.weight"] = weights.pop(PROJECTION).T
    path = save(weights, tmp_path / "transformers.safetensors")
    found: Any = models.load_text_encoders(parts_of(path).base, torch.float32)[1]
    assert torch.equal(found.text_projection.weight, usual.text_projection.weight)  # pyright: ignore


def test_a_text_encoder_whose_last_layer_was_dropped_keeps_the_others(tiny_checkpoint, monkeypatch):
    base = models.open_base(ModelConfig(str(tiny_checkpoint("sd2"))))
    kept: Any = models.load_text_encoders(base, torch.float32)[0]
    assert kept.config.num_hidden_layers == 2
    monkeypatch.setattr(models, "DROPPED_ALREADY", 3)  # 23 in files of the real size
    found: Any = models.load_text_encoders(base, torch.float32)[0]
    assert found.config.num_hidden_layers == 3


DISTILLED = {
    "SSD-1B": ((2, 2), (4, 4), (2, 1, 1), (4, 4, 10), 0),
    "Segmind-Vega": ((1, 1), (2, 2), (1, 1, 1), (2, 2, 2), 0),
    "KOALA-700M": ((2,), (5,), (2, 2), (5, 5), None),
}


@pytest.mark.parametrize("model", DISTILLED)
def test_distilled_models_of_sdxl_are_trained(tiny_checkpoint, make_config, tmp_path, model):
    second, third, second_up, third_up, middle = DISTILLED[model]
    levels = (
        Level(64, (0,) * len(second), (0,) * len(second_up)),
        Level(64, second, second_up),
        Level(64, third, third_up),
    )
    unet = unet_tensors(UNetStructure(levels, middle, 4, 4, 2048, 2816, True))
    rng = torch.Generator().manual_seed(0)
    weights = {
        name: value
        for name, value in load_file(tiny_checkpoint("sdxl")).items()
        if not name.startswith(UNET_PREFIX)
    }
    for name, shape in unet.items():
        weights[UNET_PREFIX + name] = random_tensor(name, torch.Size(shape), rng).half()
    path = save(weights, tmp_path / "distilled.safetensors")
    config = make_config("sdxl", base=str(path), max_train_steps=1)
    last = run_training(config, tmp_path / "runs" / "run")[-1]
    assert last.name == "finished"
    layers = {key.partition(".")[0] for key in load_file(last.result_path)}
    blocks = sum(second) + sum(third) + sum(second_up) + sum(third_up)
    assert len(layers) == 10 * blocks


@pytest.mark.parametrize(
    ("key", "part", "title"),
    [
        (f"{LAYER}.weight", "unet", "U-Net"),
        ("first_stage_model.decoder.conv_in.weight", "vae", "VAE"),
        (
            "cond_stage_model.transformer.text_model.final_layer_norm.bias",
            "text_encoders",
            "text encoder",
        ),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named_at_load(
    tiny_checkpoint, tmp_path, key, part, title, value
):
    weights = load_file(tiny_checkpoint("sd1"))
    weights[key].view(-1)[0] = value
    path = save(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ConfigError, match=f"the {title} has NaN or infinite weights .{key}") as got:
        getattr(parts_of(path), part)
    assert str(path) in got.value.message and "learning_rate" not in got.value.hint


def test_a_weight_too_large_for_half_precision_is_blamed_on_the_precision(
    tiny_checkpoint, tmp_path
):
    weights = {k: v.float() for k, v in load_file(tiny_checkpoint("sd1")).items()}
    weights[f"{LAYER}.weight"][0, 0] = 70_000
    path = save(weights, tmp_path / "large.safetensors")
    assert parts_of(path, torch.bfloat16).unet
    with pytest.raises(ConfigError, match="too large for float16. Set mixed_precision to bf16"):
        _ = parts_of(path, torch.float16).unet


def shard(file: Path, names: list[str]) -> None:
    """Split a file of weights into several, dealt in turn."""
    weights = load_file(file)
    keys = sorted(weights)
    for index, name in enumerate(names):
        save({key: weights[key] for key in keys[index :: len(names)]}, file.with_name(name))
    file.unlink()


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_of_a_folder_are_read_as_one(tiny_checkpoint, tmp_path, variant):
    base = tiny_checkpoint("sd1")
    folder = save_folder(base, tmp_path / "folder")
    stem = f"diffusion_pytorch_model{variant}"
    names = [f"{stem}-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    shard(folder / "unet" / "diffusion_pytorch_model.safetensors", names)
    for whole, sharded in zip(outputs(base), outputs(folder), strict=True):
        torch.testing.assert_close(whole, sharded, atol=1e-5, rtol=1e-5)
    (folder / "unet" / names[1]).unlink()
    with pytest.raises(ConfigError, match="unet has 2 of the 3 files of its weights"):
        models.open_base(ModelConfig(str(folder)))


def test_a_folders_extra_weight_is_named(tiny_checkpoint, tmp_path):
    folder = save_folder(tiny_checkpoint("sd1"), tmp_path / "folder")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save(load_file(file) | {"up_blocks.9.bias": torch.zeros(1)}, file)
    with pytest.raises(ConfigError, match="no place for 1 weights, such as up_blocks.9.bias"):
        models.open_base(ModelConfig(str(folder)))


def test_large_weights_whose_sum_overflows_are_no_fault(tiny_checkpoint, tmp_path):
    weights = load_file(tiny_checkpoint("sd1"))
    weights[f"{LAYER}.weight"][:] = 60_000
    assert parts_of(save(weights, tmp_path / "large.safetensors"), torch.float16).unet
