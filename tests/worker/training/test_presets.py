"""Every preset trains two steps of a tiny model; the published LoRA has the published layers."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from tests.conftest import CLASS_PROMPT
from tests.worker.training.test_train import run_training
from trainer.config.config import Config
from trainer.config.presets import PRESETS, preset_values

QUICK = {
    "max_train_steps": 2, "resolution": 64, "num_class_images": 2, "class_inference_steps": 2,
    "sample_every": None, "save_every": None, "sample_inference_steps": 2, "mixed_precision": "no",
}  # fmt: skip


def family_of(name: str) -> str:
    return "sdxl" if "sdxl" in name else "sd2" if "sd2" in name else "sd1"


def preset_config(make_config, name: str) -> Config:
    base = make_config(family_of(name)).flat()
    own = {key: base[key] for key in ("base", "instance_images", "instance_prompt", "output")}
    values = own | {"class_prompt": CLASS_PROMPT} | preset_values(name) | QUICK
    return Config.from_values(values)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(make_config, tmp_path, name):
    end = run_training(preset_config(make_config, name), tmp_path / "run")[-1]
    assert (end.name, end.step) == ("finished", 2)
    assert end.result_kind == ("checkpoint" if "full" in name or name == "paper" else "lora")


def test_the_published_lora_is_of_rank_4_on_all_attention_layers_alone(make_config, tmp_path):
    end = run_training(preset_config(make_config, "sdxl-lora-published"), tmp_path / "run")[-1]
    usual = run_training(make_config("sdxl"), tmp_path / "usual")[-1]
    weights, all_layers = load_file(end.result_path), load_file(usual.result_path)
    attention = {key for key in all_layers if "_attn1_" in key or "_attn2_" in key}
    assert weights.keys() == attention < all_layers.keys()
    assert {len(value) for key, value in weights.items() if "lora_down" in key} == {4}
