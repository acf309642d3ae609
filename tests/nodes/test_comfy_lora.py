"""ComfyUI's own loader merges our LoRA files completely and exactly."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.worker.trainable.test_extract import (
    extract,
    parts_of,
    random_deltas,
    tuned_file,
    weight_names,
)
from trainer.config.config import Config
from trainer.config.model import ModelConfig
from trainer.model_files.contents import UNET_PREFIX
from trainer.model_files.unet_structure import unet_structure
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base import models, renaming, unet_layout, weights
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(comfy_host.skip_reason() is not None, reason=str(comfy_host.skip_reason())),
]
LARGE = pytest.mark.slow
STRENGTH = 0.7
SCRIPT = Path(__file__).parents[1] / "helpers/comfy_merge.py"


def random_lora(base: Path, photos: Path, folder: Path, precision: str = "fp32") -> Path:
    """A LoRA for the U-Net and text encoders, with strong random weights."""
    config = Config.from_values(
        {
            "base": str(base), "instance_images": (str(photos),), "instance_prompt": "sks dog",
            "resolution": 64, "rank": 4, "alpha": 3.0, "train_text_encoder": True,
            "mixed_precision": "bf16", "save_precision": precision,
            "output": str(folder / "lora.safetensors"),
        }
    )  # fmt: skip
    job = Job(config, Run(folder / "runs" / "r"), False, lambda event: None, Control())
    training = set_up(job)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in training.model.trained.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.05)
    return training.save_result(1)[0]


def host_merge(base: Path, lora: Path, result: str, strength: float = STRENGTH) -> str:
    command = [comfy_host.comfy_python(), SCRIPT, comfy_host.comfy_dir(), base, lora]
    return subprocess.run(
        [*map(str, command), str(strength), result], check=True, capture_output=True, text=True
    ).stdout


def expected_weights(base: Path, lora: Path) -> dict[str, torch.Tensor]:
    """Base + strength * (alpha / rank) * up @ down, by ComfyUI's names of the weights."""
    opened = models.open_base(ModelConfig(str(base)))
    deltas = load_file(lora)
    expected: dict[str, torch.Tensor] = {}
    tensors = weights.read_tensors(base, UNET_PREFIX)
    shapes = {key: tuple(value.shape) for key, value in tensors}
    to_original = [(b, a) for a, b in unet_layout.unet_pairs(unet_structure(shapes).levels)]
    unet = models.load_unet(opened, torch.float32)
    add_merged(expected, unet, "lora_unet_", deltas, lambda name: name)
    expected = {
        "diffusion_model." + renaming.new_name(name, dict(to_original)): value
        for name, value in expected.items()
    }
    prefixes = {"sd1": ["clip_l."], "sd2": ["clip_h."], "sdxl": ["clip_l.", "clip_g."]}
    encoders = models.load_text_encoders(opened, torch.float32)
    kinds = opened.family.text_encoders
    for prefix, kind, encoder in zip(prefixes[opened.family.name], kinds, encoders, strict=True):
        add_merged(
            expected, encoder, f"{kind.lora_prefix}_text_model_", deltas,
            lambda name, p=prefix: f"{p}transformer.text_model.{name}",
        )  # fmt: skip
    assert not deltas
    return expected


def add_merged(expected, model, prefix, deltas, host_name):
    for name, module in model.named_modules():
        name = name.removeprefix("text_model.")
        key = prefix + name.replace(".", "_")
        if f"{key}.lora_up.weight" not in deltas:
            continue
        up, down = deltas.pop(f"{key}.lora_up.weight"), deltas.pop(f"{key}.lora_down.weight")
        scale = STRENGTH * deltas.pop(f"{key}.alpha").item() / len(down)
        expected[host_name(name + ".weight")] = module.weight + scale * up.float() @ down.float()


@pytest.mark.parametrize("size", ["host", pytest.param("full", marks=LARGE)])
@pytest.mark.parametrize(
    "family", ["sd1", pytest.param("sd2", marks=LARGE), pytest.param("sdxl", marks=LARGE)]
)
def test_comfyui_merges_every_layer_exactly(tmp_path, photos, family, size):
    if (family, size) == ("sdxl", "full"):
        pytest.skip("the merged weights take 9 GB; its keys are tested below")
    base = save_checkpoint(tmp_path / f"{family}.safetensors", family, size)
    lora = random_lora(base, photos, tmp_path)
    host_merge(base, lora, str(tmp_path / "merged.safetensors"))
    with safe_open(tmp_path / "merged.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["complaints"]) == []
    merged = load_file(tmp_path / "merged.safetensors")
    expected = expected_weights(base, lora)
    assert merged.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(merged[name], value, atol=1e-6, rtol=0, msg=name)


def test_comfyui_turns_the_base_into_the_tuned_model_with_an_extracted_lora(tmp_path):
    base = save_checkpoint(tmp_path / "sd1.safetensors", "sd1", "host")
    names = tuple(n for n in weight_names() if n in parts_of(base)["unet"])
    deltas = random_deltas(base, names, rank=4)
    tuned = tuned_file(base, deltas, tmp_path / "tuned.safetensors")
    lora, found = extract(base, tuned, tmp_path / "lora.safetensors")
    assert found.error < 1e-5
    host_merge(base, lora, str(tmp_path / "merged.safetensors"), strength=1.0)
    with safe_open(tmp_path / "merged.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["complaints"]) == []
    merged, wanted = load_file(tmp_path / "merged.safetensors"), load_file(tuned)
    assert len(merged) == len(names) >= 3
    for name, value in merged.items():
        assert value.shape == wanted[f"model.{name}"].shape
        torch.testing.assert_close(value, wanted[f"model.{name}"], atol=1e-6, rtol=0, msg=name)


@pytest.mark.slow
def test_comfyui_loads_every_key_of_a_full_size_sdxl_lora(tmp_path, photos):
    base = save_checkpoint(tmp_path / "sdxl.safetensors", "sdxl", "full")
    lora = random_lora(base, photos, tmp_path, "fp16")
    found = json.loads(host_merge(base, lora, "-").splitlines()[-1])
    assert found["complaints"] == []
    assert found["patched"] == [700, (11 + 32) * 6]
