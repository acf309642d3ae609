"""Every way in which a run in ComfyUI can be stopped: cancel at each stage, page and host gone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json
from tests.nodes.test_comfy import (
    CHECKPOINT,
    PACK,
    class_node,
    graph,
    lora_file,
    node,
    photo_node,
    progress_texts,
    run_events,
    run_folders,
    train_node,
)

REASON = comfy_host.skip_reason()
pytestmark = [
    pytest.mark.comfy,
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]
LONG = 200  # sampling steps, steps of training, ...: more than a test waits for


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stops")


def comfy(folder: Path) -> ComfyServer:
    return ComfyServer(PACK, folder, env={"DREAMBOOTH_PYTHON": sys.executable})


@pytest.fixture(scope="module")
def server(folder: Path, photos: Path) -> Iterator[ComfyServer]:
    host = comfy(folder)
    save_checkpoint(folder / "models/checkpoints" / CHECKPOINT, "sd1", "host")
    for photo in photos.iterdir():
        host.upload_image(photo, "dog")
    with host:
        yield host


def begin(server: ComfyServer, wanted: Json, text: str) -> str:
    """Queue a graph, and wait until a line under one of its nodes has this text."""
    seen = len(progress_texts(server))
    prompt = server.queue(wanted)
    deadline = time.monotonic() + 200
    while not any(text in line for line in progress_texts(server)[seen:]):
        assert time.monotonic() < deadline and not server.get(f"/history/{prompt}"), text
        time.sleep(0.05)
    return prompt


STAGES = {
    "class images": ("Class images", {"class_inference_steps": 1}, {"class_prompt": "a dog"}),
    "caching": ("Caching", {}, {"num_crops": 64, "crop_mode": "random"}),
    "sampling": ("Sampling", {"sample_every": 1, "sample_inference_steps": LONG}, {}),
    "training": ("loss", {}, {}),
}


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_at_any_stage_ends_soon_and_the_next_run_resumes(server, stage):
    text, settings, photo_settings = STAGES[stage]
    name = stage.replace(" ", "_")
    train = train_node(output_name=name, max_train_steps=LONG, **settings)
    if stage == "class images":
        train["inputs"]["num_class_images"] = LONG
    wanted = graph(photos=photo_node(**photo_settings), train=train)
    prompt = begin(server, wanted, text)
    began = time.monotonic()
    server.interrupt()
    status = server.wait(prompt)["status"]
    assert time.monotonic() - began < 60
    assert status["messages"][-1][0] == "execution_interrupted"
    (*_, last) = run_events(server, name)
    assert last["event"] == "stopped" and last["resumable"]
    kept = lora_file(server, f"{name}-step{last['step']:08d}")
    assert kept.exists() == (last["step"] > 0)
    prompt = begin(server, wanted, "loss" if last["step"] else text)
    server.interrupt()
    server.wait(prompt)
    assert f"{name}_2" not in run_folders(server)


def test_cancel_keeps_the_class_images_generated_so_far(server):
    classes = class_node(class_prompt="a bird", num_class_images=60, steps=2)
    wanted = graph(classes=classes, shown=node("PreviewImage", images=["classes", 1]))
    sets = server.base_dir / "output/dreambooth/cache/class_images"
    before = set(sets.glob("*/*.png"))
    prompt = server.queue(wanted)
    while not set(sets.glob("*/*.png")) - before:
        assert not server.get(f"/history/{prompt}")
        time.sleep(0.02)
    server.interrupt()
    assert server.wait(prompt)["status"]["messages"][-1][0] == "execution_interrupted"
    done = {path: path.stat().st_mtime_ns for path in set(sets.glob("*/*.png")) - before}
    assert 0 < len(done) < 60
    classes["inputs"]["num_class_images"] = len(done) + 1
    report = server.run(wanted)["outputs"]["classes"]["report"]
    assert report == [f"{len(done) + 1} class images: {len(done)} reused, 1 new"]
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in done.items())


def two_steps(name: str, **changes: object) -> Json:
    return graph(photos=photo_node(), train=train_node(output_name=name, **changes))


def test_the_same_workflow_queued_twice_is_trained_once(server):
    first, second = (server.queue(two_steps("twice")) for _ in range(2))
    for prompt in (first, second):
        assert server.wait(prompt)["status"]["status_str"] == "success"
    assert lora_file(server, "twice").is_file() and not lora_file(server, "twice_2").exists()
    assert "twice_2" not in run_folders(server)


def test_a_killed_host_costs_nothing_and_a_closed_page_does_nothing(server, folder):
    """Last in this file: it ends the module's ComfyUI, and continues in a new one."""
    begin(server, two_steps("killed", max_train_steps=40), "loss")
    host, page = server._processes
    os.killpg(host.pid, signal.SIGKILL)
    host.wait()
    page.wait(30)
    deadline = time.monotonic() + 120
    while run_events(server, "killed")[-1]["event"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    step = run_events(server, "killed")[-1]["step"]
    assert 1 <= step < 40
    with comfy(folder) as again:
        prompt = begin(again, two_steps("killed", max_train_steps=40), "loss")
        page = again._processes[1]
        os.killpg(page.pid, signal.SIGKILL)  # a page that is closed or reloaded
        page.wait()
        assert again.wait(prompt)["status"]["status_str"] == "success"
        again.run(two_steps("unbroken", max_train_steps=40))
        starts = [e["start_step"] for e in run_events(server, "killed") if e["event"] == "started"]
        assert starts == [0, step]
        loras = [lora_file(server, "unbroken"), lora_file(server, "killed")]
        unbroken, resumed = (load_file(path) for path in loras)
        assert unbroken.keys() == resumed.keys()
        assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
