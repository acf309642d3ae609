"""The LoRAs of kept checkpoints, from a real training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.a1111.test_a1111_parts import (
    ConfigError,
    StandInHost,
    form,
    jobs,
    orders,
    places,
    this_python,
    wait,
)
from tests.nodes.test_nodes import pack_module

kept = pack_module("a1111.kept")
Run = pack_module("trainer.runs.run").Run
__all__ = ["places", "this_python"]  # fixtures


@pytest.fixture
def trained(places, photos):
    """A run of four steps that kept its checkpoints of steps 2 and 4, and its LoRA."""
    job = orders.train_job(
        form(photos, max_train_steps=4, save_every=2, resolution=64, learning_rate=1e-3, rank=2,
             sample_every=0, sample_inference_steps=1, mixed_precision="no"), places,
    )  # fmt: skip
    host = StandInHost()
    host.release.set()
    jobs.Jobs().start(lambda: job, host)
    wait(job)
    assert job.last.name == "finished", job.last
    return Run(Path(job.order.run)), Path(job.last.result_path)


def test_the_lora_of_a_kept_step_is_like_the_result_but_for_its_weights_and_step(trained):
    run, result = trained
    assert kept.kept_steps(run, result) == [2, 4]
    last = kept.take_lora(run, 4, result)
    assert last.name == "dog-step00000004.safetensors"
    assert kept.kept_steps(run, result) == [2]
    made, same = load_file(result), load_file(last)
    assert made.keys() == same.keys()
    assert all(torch.equal(made[name], same[name].to(made[name].dtype)) for name in made)
    earlier = load_file(kept.take_lora(run, 2, result))
    assert any(not torch.equal(earlier[name], same[name]) for name in same)
    with safe_open(result, "pt") as first, safe_open(last, "pt") as second:
        changed = dict(second.metadata().items() - first.metadata().items())
    assert set(changed) == {"ss_output_name", "modelspec.title"}
    card = json.loads((result.parent / "dog-step00000002.json").read_text("utf-8"))
    assert card["activation text"] == "a photo of sks dog" and "for 2 steps" in card["notes"]
    with pytest.raises(ConfigError, match="Step 3 .* is not kept"):
        kept.take_lora(run, 3, result)
    (run.checkpoints / "step_000002" / "trained.safetensors").write_bytes(result.read_bytes())
    with pytest.raises(ConfigError, match="Step 2 is not of"):
        kept.take_lora(run, 2, result)
