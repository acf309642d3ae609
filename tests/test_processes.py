"""Several processes with the same global batch train the same as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from trainer.environment import worker_env


def launch(folder: Path, processes: int, base: Path, photos: Path, *more: object) -> None:
    launcher = [sys.executable, "-m"]
    if processes > 1:  # what `accelerate launch` calls; it takes GPUs only
        launcher += ["torch.distributed.run", "--nproc_per_node", str(processes), "-m"]
    command = [
        "trainer", "train", "--base", base, "--instance-images", photos, "--instance-prompt",
        "a photo of sks dog", "--class-prompt", "a dog", "--num-class-images", 2,
        "--class-inference-steps", 1, "--resolution", 64, "--rank", 2, "--max-train-steps", 3,
        "--train-text-encoder", "--mixed-precision", "no", "--sample-inference-steps", 1,
        "--learning-rate", 1e-3, "--save-precision", "fp32",
        "--output", "out/dog.safetensors", *more,
    ]  # fmt: skip
    folder.mkdir()
    subprocess.run(
        [*launcher, *map(str, command)], cwd=folder, check=True, timeout=300,
        env=worker_env() | {"OMP_NUM_THREADS": "1"}, capture_output=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="gloo between processes is tried on Linux")
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_two_processes_equal_one_with_the_same_global_batch(
    tiny_checkpoint, photos, tmp_path, family
):
    base = tiny_checkpoint(family)
    launch(tmp_path / "one", 1, base, photos, "--train-batch-size", 2)
    launch(tmp_path / "two", 2, base, photos, "--train-batch-size", 1)
    one, two = (load_file(tmp_path / name / "out" / "dog.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    largest = max((one[name] - two[name]).abs().max().item() for name in one)
    assert largest < 2e-5  # Adam blows up the rounding of tiny gradients
    assert any(torch.any(one[name] != 0) for name in one if name.endswith("lora_up.weight"))
    assert [
        path.name for path in (tmp_path / "two" / "runs").iterdir() if path.name != "cache"
    ] == ["dog"]
