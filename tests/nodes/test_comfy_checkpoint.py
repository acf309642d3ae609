"""ComfyUI's own loader opens our checkpoints completely, and yields the trained weights."""

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
from tests.worker.base.test_models import save_folder
from trainer.config.config import Config
from trainer.model_files.contents import UNET_PREFIX
from trainer.model_files.families import FAMILIES, FamilyName
from trainer.model_files.unet_structure import unet_structure
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.base import renaming, unet_layout, weights
from trainer.worker.training.job import Job
from trainer.worker.training.setup import set_up

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(comfy_host.skip_reason() is not None, reason=str(comfy_host.skip_reason())),
]
SCRIPT = Path(__file__).parents[1] / "helpers/comfy_load.py"
HOST_ENCODERS = {"sd1": ["clip_l"], "sd2": ["clip_h"], "sdxl": ["clip_l", "clip_g"]}
UNUSED = (  # what diffusers' folders lack, and no prompt passes
    "clip_h.transformer.text_model.encoder.layers.23.", "clip_h.transformer.text_projection.",
    "clip_h.logit_scale", "clip_g.logit_scale",
)  # fmt: skip
LARGE = pytest.mark.slow  # gigabytes


def full_result(base: Path, photos: Path, folder: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """A checkpoint as a full fine-tune saves it, every trained weight changed, and these."""
    config = Config.from_values(
        {
            "base": str(base), "instance_images": (str(photos),), "instance_prompt": "sks dog",
            "resolution": 64, "method": "full", "train_text_encoder": True, "learning_rate": 1e-5,
            "mixed_precision": "no", "max_train_steps": 1,
            "output": str(folder / "dog.safetensors"),
        }
    )  # fmt: skip
    training = set_up(Job(config, Run(folder / "runs"), False, lambda event: None, Control()))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in training.model.trained.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng) * 0.05)
    trained = {k: v.half() for k, v in training.model.trained.tensors().items()}
    return training.save_result(1)[0], trained


def host_weights(checkpoint: Path, result: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """What ComfyUI's loader has in the end, and its complaints."""
    command = [comfy_host.comfy_python(), SCRIPT, comfy_host.comfy_dir(), checkpoint, result]
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
    with safe_open(result, framework="pt") as file:
        complaints = json.loads(file.metadata()["complaints"])
    return load_file(result), complaints


def host_names(base: Path, family: FamilyName, names: list[str]) -> dict[str, str]:
    """ComfyUI's names of trained weights."""
    shapes = {k: tuple(v.shape) for k, v in weights.read_tensors(base, UNET_PREFIX)}
    levels = unet_structure(shapes).levels
    to_original = {b: a for a, b in unet_layout.unet_pairs(levels)}
    kinds = [kind.folder for kind in FAMILIES[family].text_encoders]
    encoders = dict(zip(kinds, HOST_ENCODERS[family], strict=True))
    found: dict[str, str] = {}
    for name in names:
        part, _, rest = name.partition(".")
        if part == "unet":
            found[name] = f"diffusion_model.{renaming.new_name(rest, to_original)}"
            continue
        rest = rest.removeprefix("text_model.")
        within = "" if rest.startswith("text_projection") else "text_model."
        found[name] = f"{encoders[part]}.transformer.{within}{rest}"
    return found


@pytest.mark.parametrize(
    "as_file", [True, pytest.param(False, marks=LARGE)], ids=["file", "folder"]
)
@pytest.mark.parametrize(
    "family", ["sd1", pytest.param("sd2", marks=LARGE), pytest.param("sdxl", marks=LARGE)]
)
def test_comfyui_loads_the_trained_weights_and_all_others_of_the_base(
    tmp_path, photos, family, as_file
):
    base = save_checkpoint(tmp_path / f"{family}.safetensors", family, "host")
    given = base if as_file else save_folder(base, tmp_path / "folder")
    result, trained = full_result(given, photos, tmp_path)
    before, usual = host_weights(base, tmp_path / "before.safetensors")
    found, complaints = host_weights(result, tmp_path / "found.safetensors")
    assert set(complaints) <= set(usual)  # SD 1.x files have no projection either
    assert found.keys() == before.keys()
    names = host_names(base, family, list(trained))
    assert set(names.values()) <= found.keys()
    for name, value in trained.items():
        assert torch.equal(found[names[name]].half(), value), name
    for name in found.keys() - set(names.values()):
        if as_file or not name.startswith(UNUSED):
            assert torch.equal(found[name], before[name]), name
