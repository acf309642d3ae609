"""Models that were changed on the way to the nodes, in a real ComfyUI."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file

from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json
from tests.nodes.test_comfy import (  # noqa: F401 - the server is a fixture
    CHECKPOINT,
    class_node,
    error_of,
    graph,
    node,
    photo_node,
    server,
    train_node,
)
from trainer.files.fingerprint import file_sha256

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(comfy_host.skip_reason() is not None, reason=str(comfy_host.skip_reason())),
]


def trained_model(server: ComfyServer, name: str, **nodes: Json) -> Json:  # noqa: F811
    """Train with these nodes; return the model part of the run's config."""
    train = train_node(output_name=name, max_train_steps=1, **nodes.pop("train", {}))
    server.run(graph(photos=photo_node(), train=train, **nodes))
    config = server.base_dir / "output" / "dreambooth" / name / "config.json"
    return json.loads(config.read_text("utf-8"))["model"]


def test_a_velocity_model_on_the_wire_is_trained_as_one(server):  # noqa: F811
    sampling = node("ModelSamplingDiscrete", model=["base", 0], sampling="v_prediction", zsnr=True)
    model = trained_model(server, "velocity", sampling=sampling, train={"model": ["sampling", 0]})
    assert model["prediction_type"] == "v_prediction"
    assert "ztsnr" in load_file(model["base"])


def test_a_model_that_is_sampled_in_another_way_is_refused(server):  # noqa: F811
    sampling = node(
        "ModelSamplingContinuousEDM", model=["base", 0], sampling="edm_playground_v2.5",
        sigma_max=120.0, sigma_min=0.002,
    )  # fmt: skip
    train = train_node(output_name="edm", model=["sampling", 0])
    message = error_of(server, graph(photos=photo_node(), sampling=sampling, train=train))
    assert "predicts neither noise nor velocity" in message
    assert not (server.base_dir / "output" / "dreambooth" / "edm").exists()


def test_a_vae_file_on_the_wire_is_used_without_an_export(server):  # noqa: F811
    checkpoint = server.base_dir / "models" / "checkpoints" / CHECKPOINT
    prefix = "first_stage_model."
    vae = {k.removeprefix(prefix): v for k, v in load_file(checkpoint).items() if prefix in k}
    file = server.base_dir / "models" / "vae" / "other.safetensors"
    save_file(vae, file)
    loader = node("VAELoader", vae_name="other.safetensors")
    model = trained_model(server, "vae", loader=loader, train={"vae": ["loader", 0]})
    assert (model["base"], model["vae"]) == (str(checkpoint), str(file))
    assert file_sha256(file) != file_sha256(checkpoint)


def class_sets(server: ComfyServer) -> list[Json]:  # noqa: F811
    folder = server.base_dir / "output" / "dreambooth" / "cache" / "class_images"
    return [json.loads(file.read_text("utf-8")) for file in folder.glob("*/set.json")]


def test_class_images_take_their_prompt_and_size_from_the_photos(server):  # noqa: F811
    photos = photo_node(class_prompt="a photo of a puppy")
    classes = class_node(class_prompt="", resolution=0, instance_set=["photos", 0])
    shown = node("PreviewImage", images=["classes", 1])
    server.run(graph(photos=photos, classes=classes, shown=shown))
    (made,) = (found for found in class_sets(server) if "puppy" in found["class_prompt"])
    assert (made["width"], made["height"]) == (64, 64)
    nameless = graph(photos=photo_node(), classes=classes, shown=shown)
    assert "class prompt of Load Instance Images is empty" in error_of(server, nameless)


def test_a_training_that_would_be_refused_begins_no_class_images(server):  # noqa: F811
    before = len(class_sets(server))
    classes, link = class_node(class_prompt="a photo of a horse"), {"class_set": ["classes", 0]}
    photos = photo_node(class_prompt="a photo of a dog")
    differ = graph(photos=photos, classes=classes, train=train_node(**link))
    message = "has the class prompt 'a photo of a horse', Load Instance Images 'a photo of a dog'"
    assert message in error_of(server, differ)
    preset = graph(
        photos=photo_node(), classes=classes, train=train_node(preset="sdxl-lora", **link)
    )
    assert "The preset sdxl-lora is for SDXL; the model is SD 1.x" in error_of(server, preset)
    assert len(class_sets(server)) == before
