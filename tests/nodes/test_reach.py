"""What a graph can reach in a real ComfyUI: checked inputs alone, and folders the owner allows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json
from tests.nodes.test_comfy import (
    CHECKPOINT,
    PACK,
    class_node,
    error_of,
    forget,
    graph,
    lora_file,
    node,
    photo_node,
    train_node,
)
from tests.nodes.test_routes import refusal, sample_node

REASON = comfy_host.skip_reason()
pytestmark = [pytest.mark.comfy, pytest.mark.skipif(REASON is not None, reason=REASON or "")]
LISTED, SECRET = "listed", "secret"
PRIVATE = "my password is 1234"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[ComfyServer]:
    """ComfyUI next to a folder that its owner has listed, and a private one."""
    folder = tmp_path_factory.mktemp("reach")
    for name in (LISTED, SECRET):
        shutil.copytree(photos, folder / name)
        (folder / name / "photo_0.txt").write_text(PRIVATE)
    host = ComfyServer(
        PACK, folder / "comfy", env={"DREAMBOOTH_PYTHON": sys.executable},
        listed=[folder / "nowhere", folder / LISTED],
    )  # fmt: skip
    save_checkpoint(host.base_dir / "models/checkpoints" / CHECKPOINT, "sd1", "host")
    for photo in photos.iterdir():
        host.upload_image(photo, "dog")
    with host:
        yield host


def beside(server: ComfyServer, name: str) -> Path:
    """A folder next to ComfyUI's own."""
    return server.base_dir.parent / name


def shown(photos: Json, **nodes: Json) -> Json:
    """A graph that shows the photos of a node, and its report."""
    return graph(
        photos=photos,
        shown=node("PreviewImage", images=["photos", 1]),
        report=node("PreviewAny", source=["photos", 2]),
        **nodes,
    )


def text_node(value: object) -> Json:
    return node("PrimitiveString", value=str(value))


def test_links_to_names_that_a_node_does_not_have_change_nothing(server):
    secret = beside(server, SECRET) / "photo_0.png"
    stray = {"instance_images": ["secret", 0], "class_images": ["secret", 0], "x": ["secret", 0]}
    plain = server.run(shown(photo_node()))["outputs"]
    wanted = shown(photo_node(**stray), secret=text_node(secret))
    assert len(server.run(wanted)["outputs"]["shown"]["images"]) == len(plain["shown"]["images"])
    wanted |= {
        "classes": class_node(num_class_images=1, **stray),
        "train": train_node(max_train_steps=1, sample_every=0, vae_path=["secret", 0], **stray),
        "lora": node(
            "DreamBoothLoRALoader", model=["base", 0], clip=["base", 1], result=["train", 0],
            lora_name="", strength_model=1.0, strength_clip=1.0, **stray,
        ),
        "sample": sample_node(model=["lora", 0], clip=["lora", 1], **stray),
        "classes_shown": node("PreviewImage", images=["classes", 1]),
    }  # fmt: skip
    server.run(wanted)
    assert lora_file(server).is_file()
    config = (server.base_dir / "output/dreambooth/dog/config.json").read_text("utf-8")
    assert json.loads(config)["prior"]["class_images"] is None
    assert str(secret) not in config
    input_folder = str(server.base_dir / "input/dog")
    images = json.loads(config)["instance"]["instance_images"]
    assert images and all(path.startswith(input_folder) for path in images)


def test_a_node_says_which_input_is_not_what_its_own_nodes_make(server):
    for changes in ({"instance_set": "x"}, {"instance_set": {"config": 1}}, {"class_set": 5}):
        (name,) = changes
        wanted = graph(photos=photo_node(), train=train_node(**changes))
        assert f"The {name} input does not come from" in error_of(server, wanted)


def test_a_graph_reads_the_folders_of_the_host_and_those_that_its_owner_listed(server):
    listed = beside(server, LISTED)
    for folder in (listed, f"{listed}/", f"{listed}/../{LISTED}", server.base_dir / "input/dog"):
        images = server.run(shown(photo_node(folder=str(folder))))["outputs"]["shown"]["images"]
        assert len(images) == 3


def test_no_other_folder_is_read_and_the_message_says_how_its_owner_allows_it(server):
    secret, listed = beside(server, SECRET), beside(server, LISTED)
    for folder in (
        secret, f"{listed}/../{SECRET}", f"{listed}{SECRET}", listed.parent, "/", "..", "~",
        "/no/such/folder", f"../../{SECRET}", server.base_dir / "models",
    ):  # fmt: skip
        message = error_of(server, shown(photo_node(folder=str(folder))))
        assert "is outside of the folders that workflows may read" in message, folder
        assert (
            '"dreambooth_images: FULL PATH"' in message and "Add the photos on the node" in message
        )
        linked = shown(photo_node(folder=["secret", 0]), secret=text_node(folder))
        assert error_of(server, linked) == message


def test_links_below_an_allowed_folder_lead_to_no_other(server):
    secret, listed = beside(server, SECRET), beside(server, LISTED)
    output = server.base_dir / "output" / "dreambooth" / "shared"
    output.mkdir(parents=True)
    (output / "a.png").symlink_to(secret / "photo_1.png")
    captioned = server.base_dir / "input" / "captioned"
    captioned.mkdir()
    shutil.copy(secret / "photo_1.png", captioned / "a.png")
    (captioned / "a.txt").symlink_to(secret / "photo_0.txt")
    (listed / "more").symlink_to(secret)
    for changes in (
        {"folder": str(output)},
        {"folder": "captioned"},
        {"folder": str(listed / "more")},
        {"folder": "", "photos": "captioned/a.png"},
    ):
        message = error_of(server, shown(photo_node(**changes)))
        assert "is outside of the folders that workflows may read" in message, changes
        assert PRIVATE not in message


def test_a_folder_that_is_no_text_is_refused(server):
    for value in (5, ["a"], {"a": 1}):
        refusal(server, shown(photo_node(folder={"__value__": value})))


def test_photos_of_a_folder_on_a_wire_are_looked_at_each_time(server):
    folder = server.base_dir / "input" / "growing"
    shutil.copytree(server.base_dir / "input" / "dog", folder)
    wanted = shown(photo_node(folder=["name", 0]), name=text_node("growing"))
    assert len(server.run(wanted)["outputs"]["shown"]["images"]) == 3
    shutil.copy(folder / "photo_0.png", folder / "another.png")
    assert len(server.run(wanted)["outputs"]["shown"]["images"]) == 4


def test_a_shared_run_is_not_resumed_through_links(server):
    train = train_node(output_name="exchanged", max_train_steps=1, num_class_images=0)
    wanted = graph(photos=photo_node(), train=train)
    server.run(wanted)
    run, shell = server.base_dir / "output/dreambooth/exchanged", beside(server, "profile")
    shell.write_text("mine")
    for name in ("events.jsonl", "lock"):
        (run / name).unlink()
        (run / name).symlink_to(shell)
        forget(server)
        assert f"{name} is a link" in error_of(server, wanted)
        (run / name).unlink()
    os.mkfifo(run / "worker.log.new")
    (run / "worker.log.new").replace(run / "worker.log")
    assert "worker.log is a" in error_of(server, wanted)
    assert shell.read_text() == "mine"


def test_a_finished_runs_result_is_taken_from_the_hosts_folders_alone(server):
    train = train_node(output_name="foreign", max_train_steps=1, num_class_images=0)
    wanted = graph(photos=photo_node(), train=train)
    server.run(wanted)
    events = server.base_dir / "output/dreambooth/foreign/events.jsonl"
    elsewhere = beside(server, "elsewhere.safetensors")
    shutil.copy(lora_file(server, "foreign"), elsewhere)
    text = events.read_text("utf-8")
    assert text.count(str(lora_file(server, "foreign"))) >= 1
    events.write_text(text.replace(str(lora_file(server, "foreign")), str(elsewhere)), "utf-8")
    forget(server)
    server.run(wanted)
    assert lora_file(server, "foreign_2").is_file()


@pytest.mark.parametrize("name", ["bases", ""])
def test_a_patched_model_is_not_exported_behind_a_link(server, name):
    documents = beside(server, f"documents_{name}")
    documents.mkdir()
    for file in ("thesis.safetensors", f"{'0' * 20}.safetensors"):
        (documents / file).write_text("mine")
    link = server.base_dir / "output/dreambooth/cache" / name
    aside = link.with_name(f"{link.name}_aside")
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():
        link.rename(aside)
    link.symlink_to(documents)
    sampling = node("ModelSamplingDiscrete", model=["base", 0], sampling="v_prediction", zsnr=True)
    train = train_node(output_name="patched", max_train_steps=1, model=["sampling", 0])
    try:
        message = error_of(server, graph(photos=photo_node(), sampling=sampling, train=train))
        assert f"{link.name} is a link" in message
    finally:
        link.unlink()
        if aside.exists():
            aside.rename(link)
    assert {path.read_text() for path in documents.iterdir()} == {"mine"}
    assert len(list(documents.iterdir())) == 2


def test_a_text_in_a_graph_makes_the_host_look_at_no_other_file(tmp_path):
    """A patched model's key holds size and time of the files that a graph names."""
    (tmp_path / "input").mkdir()
    for name in ("input/mine.png", "secret.png"):
        (tmp_path / name).touch()
    names = ["mine.png", str(tmp_path / "input/mine.png"), str(tmp_path / "secret.png"),
             "../secret.png", str(tmp_path), "/", "//server/share", "a\0b"]  # fmt: skip
    code = f"""
import importlib.util, sys
sys.argv = ["main.py", "--cpu", "--base-directory", {str(tmp_path)!r}]
sys.path.insert(0, {str(comfy_host.comfy_dir())!r})
import comfy.options
comfy.options.enable_args_parsing()
spec = importlib.util.spec_from_file_location(
    "pack", {str(PACK / "__init__.py")!r}, submodule_search_locations=[{str(PACK)!r}])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
from pack.nodes import places
print("RESULT", *[places.file_stamp(name) is not None for name in {names!r}])
"""
    command = [str(comfy_host.comfy_python()), "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, env=comfy_host.users_env())
    assert found.returncode == 0, found.stderr
    assert found.stdout.partition("RESULT ")[2].split() == ["True"] * 2 + ["False"] * 6
