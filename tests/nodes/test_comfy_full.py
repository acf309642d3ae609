"""A full fine-tune in a real ComfyUI: the graph that trains a LoRA goes on with a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json
from tests.nodes.test_comfy import (  # noqa: F401 - the server is a fixture
    CHECKPOINT,
    SAMPLER,
    error_of,
    forget,
    graph,
    node,
    photo_node,
    picture,
    run_events,
    server,
    train_node,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.comfy,
    pytest.mark.skipif(comfy_host.skip_reason() is not None, reason=str(comfy_host.skip_reason())),
]


def full_graph(strength: float = 1.0, base: str = CHECKPOINT) -> Json:
    """Photos to a checkpoint to its pictures, and its weights at a strength saved again."""
    return graph(
        photos=photo_node(),
        train=train_node(
            method="full", train_text_encoder=True, output_name="whole", max_train_steps=1
        ),
        other=node("CheckpointLoaderSimple", ckpt_name=base),
        loaded=node(
            "DreamBoothLoRALoader", model=["other", 0], clip=["other", 1], result=["train", 0],
            lora_name="", strength_model=strength, strength_clip=strength,
        ),
        sample=node(
            "DreamBoothSample", model=["loaded", 0], clip=["loaded", 1], vae=["base", 2],
            trigger=["loaded", 2], prompts="{subject}", negative_prompt="",
            num_images=1, width=64, height=64, seed=1, **SAMPLER,
        ),
        pictures=node("PreviewImage", images=["sample", 0]),
        trigger=node("PreviewAny", source=["train", 3]),
        saved=node(
            "CheckpointSave", model=["loaded", 0], clip=["loaded", 1], vae=["base", 2],
            filename_prefix=f"again_{strength}",
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(server: ComfyServer) -> Json:  # noqa: F811
    """What the page was shown of the whole graph, by node."""
    return server.run(full_graph(), 600)["outputs"]


def model_file(server: ComfyServer, name: str) -> Path:  # noqa: F811
    return server.base_dir / "models" / "checkpoints" / name


def saved_weights(server: ComfyServer, strength: float) -> dict[str, torch.Tensor]:  # noqa: F811
    (file,) = (server.base_dir / "output").glob(f"again_{strength}_*.safetensors")
    return load_file(file)


def test_photos_become_a_checkpoint_and_the_checkpoint_pictures(server, trained):  # noqa: F811
    assert trained["train"]["report"] == ["Saved the checkpoint: whole.safetensors"]
    assert trained["trigger"]["text"] == ["a photo of sks dog"]
    assert not list((server.base_dir / "models" / "loras").glob("whole*"))
    options = server.object_info()["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0]
    assert "whole.safetensors" in options
    assert run_events(server, "whole")[-1]["result_kind"] == "checkpoint"
    (image,) = trained["pictures"]["images"]
    assert picture(server, image).shape == (64, 64, 3)


def test_at_strength_one_the_weights_are_those_of_the_file(server, trained):  # noqa: F811
    file, base = (load_file(model_file(server, name)) for name in ("whole.safetensors", CHECKPOINT))
    found = saved_weights(server, 1.0)
    changed = 0
    for name, value in file.items():
        assert torch.equal(found[name].float(), value.float()), name
        changed += not torch.equal(value, base[name])
    assert changed > 100


def test_at_half_the_strength_they_are_half_way_from_the_base(server, trained):  # noqa: F811
    server.run(full_graph(0.5))
    file, base = (load_file(model_file(server, name)) for name in ("whole.safetensors", CHECKPOINT))
    found = saved_weights(server, 0.5)
    for name, value in file.items():
        half = (value.float() + base[name].float()) / 2
        torch.testing.assert_close(found[name].float(), half, rtol=1e-3, atol=1e-4, msg=name)


def test_the_checkpoint_is_used_again_for_the_same_inputs(server, trained):  # noqa: F811
    forget(server)
    entry = server.run(full_graph())
    report = "Inputs unchanged, reusing the finished checkpoint: whole.safetensors"
    assert entry["outputs"]["train"]["report"] == [report]
    assert not model_file(server, "whole_2.safetensors").exists()
    (first,), (again,) = (shown["pictures"]["images"] for shown in (trained, entry["outputs"]))
    assert np.array_equal(picture(server, first), picture(server, again))


def test_the_stock_loader_draws_the_same_picture(server, trained):  # noqa: F811
    wanted = full_graph(base="whole.safetensors")
    wanted["sample"]["inputs"] |= {"model": ["other", 0], "clip": ["other", 1]}
    (image,) = server.run(wanted)["outputs"]["pictures"]["images"]
    (ours,) = trained["pictures"]["images"]
    assert np.abs(picture(server, image) - picture(server, ours)).max() <= 1


def test_a_checkpoint_for_another_model_is_refused_by_name(server, trained):  # noqa: F811
    save_checkpoint(model_file(server, "sd2.safetensors"), "sd2", "host")
    assert error_of(server, full_graph(base="sd2.safetensors")).startswith(
        "whole.safetensors is an SD 1.x checkpoint; the MODEL wire carries SD 2.x."
    )
