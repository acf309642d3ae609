"""The nodes in ComfyUI's own page, as a user meets them."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

REASON = comfy_host.skip_reason() or comfy_host.browser_skip_reason()
pytestmark = [
    pytest.mark.comfy,
    pytest.mark.browser,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

PACK = Path(__file__).parents[2]
WORKFLOWS = sorted((PACK / "example_workflows").glob("*.json"))
CHECKPOINTS = {"v1-5-pruned-emaonly-fp16": "sd1", "sd_xl_base_1.0": "sdxl"}
SIDE = 128  # pixels of training and pictures
SMALL = {  # what makes the first example run in a minute on a CPU
    "DreamBoothLoadInstanceImages": {"resolution": SIDE},
    "DreamBoothGenerateClassImages": {"num_class_images": 4, "steps": 2},
    "DreamBoothTrain": {"max_train_steps": 12, "sample_every": 6, "sample_inference_steps": 2},
    "DreamBoothSample": {"width": SIDE, "height": SIDE, "steps": 2},
}
KNOWN_ERRORS = re.compile(r"reading 'id'")  # ComfyUI's own, with any pack
SET_WIDGETS = """changes => {
  for (const node of app.graph.nodes)
    for (const [name, value] of Object.entries(changes[node.type] ?? {}))
      node.widgets.find(w => w.name === name).value = value;
}"""
PHOTOS_ALONE = """() => {
  app.graph.clear();
  const [photos, shown] = ["DreamBoothLoadInstanceImages", "PreviewImage"]
    .map(kind => app.graph.add(LiteGraph.createNode(kind)));
  photos.connect(1, shown, 0);
  photos.widgets.find(w => w.name === "instance_prompt").value = "a photo of sks dog";
  return app.loadGraphData(app.graph.serialize());
}"""
TRAINING_IN_A_SUBGRAPH = """() => {
  app.graph.clear();
  const [base, photos, train] =
    ["CheckpointLoaderSimple", "DreamBoothLoadInstanceImages", "DreamBoothTrain"]
    .map(kind => app.graph.add(LiteGraph.createNode(kind)));
  for (const name of ["MODEL", "CLIP", "VAE"])
    base.connect(base.findOutputSlot(name), train, train.findInputSlot(name.toLowerCase()));
  photos.connect(0, train, train.findInputSlot("instance_set"));
  const values = [
    [base, {ckpt_name: "v1-5-pruned-emaonly-fp16.safetensors"}],
    [photos, {folder: "dog", instance_prompt: "a photo of sks dog", resolution: 64}],
    [train, {output_name: "inner", max_train_steps: 2, num_class_images: 0, sample_every: 1,
             prior_loss_weight: 0, sample_inference_steps: 1}],
  ];
  for (const [node, changes] of values)
    for (const [name, value] of Object.entries(changes))
      node.widgets.find(w => w.name === name).value = value;
  const { subgraph } = app.graph.convertToSubgraph(new Set([train]));
  app.nodePreviewImages[subgraph.nodes[0].id] = ["of a node with the same number"];
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """ComfyUI with the pack, and checkpoints under the names that the examples use."""
    folder = tmp_path_factory.mktemp("comfy")
    host = ComfyServer(PACK, folder, env={"DREAMBOOTH_PYTHON": sys.executable})
    models = folder / "models"
    save_checkpoint(models / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors", "sd1", "host")
    (models / "checkpoints" / "sd_xl_base_1.0.safetensors").write_bytes(b"not opened")
    with host:
        yield host


@pytest.fixture
def page(server: ComfyServer) -> Iterator[Page]:
    """The page; the test must end without page errors."""
    server.post("/history", {"clear": True})
    with comfy_host.browser_page(server) as opened:
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
        assert [error for error in errors if not KNOWN_ERRORS.search(error)] == []


def toasts(page: Page) -> list[str]:
    return page.locator(".p-toast-message").all_inner_texts()


def open_template(page: Page, title: str) -> None:
    """Choose an example from the page's own template browser."""
    command(page, "Comfy.BrowseTemplates")
    page.get_by_text("dreambooth", exact=True).first.click()
    page.get_by_text(title).first.click()
    page.wait_for_function("app.graph.nodes.some(node => node.type === 'DreamBoothTrain')")


def choose(page: Page, photos: list[Path]) -> None:
    page.locator(".dreambooth-photos input").set_input_files(photos)


def upload(page: Page, photos: list[Path]) -> None:
    choose(page, photos)
    page.wait_for_function(
        """count => app.graph.nodes.find(n => n.type === "DreamBoothLoadInstanceImages")
          .widgets.find(w => w.name === "photos").value.length === count""",
        arg=len(photos),
    )


def press_run(page: Page) -> None:
    page.locator("button:has-text('Run')").first.click()


def command(page: Page, name: str) -> None:
    page.evaluate("name => app.extensionManager.command.execute(name)", name)


def wait_for_success(server: ComfyServer, timeout: float = 400) -> Json:
    """The history entry of the one graph that the page has queued."""
    deadline = time.monotonic() + timeout
    while not (history := server.get("/history")):
        assert time.monotonic() < deadline, server.log_text()[-2000:]
        time.sleep(0.2)
    (entry,) = history.values()
    assert entry["status"]["status_str"] == "success", str(entry["status"]["messages"][-1])
    return entry


def node_state(page: Page, kind: str, script: str) -> object:
    return page.evaluate(
        f"kind => (node => {script})(app.graph.nodes.find(n => n.type === kind))", kind
    )


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_examples_load_without_errors_and_keep_every_value(page, file):
    workflow = json.loads(file.read_text("utf-8"))
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(1000)
    assert toasts(page) == []
    assert page.locator(".p-dialog").count() == 0
    saved = page.evaluate("app.graph.serialize()")
    assert len(saved["links"]) == len(workflow["links"])
    nodes = {node["id"]: node for node in saved["nodes"]}
    for node in workflow["nodes"]:
        wanted = node.get("widgets_values", [])
        assert nodes[node["id"]].get("widgets_values", [])[: len(wanted)] == wanted, node["type"]
        named = node.get("widgets_values_named", {})
        assert named.items() <= nodes[node["id"]].get("widgets_values_named", {}).items()


def test_run_waits_for_photos_that_are_uploading_even_if_one_fails(page, server, photos):
    page.evaluate(PHOTOS_ALONE)
    held: list[Route] = []
    page.route("**/upload/image", lambda route: held.append(route))
    choose(page, sorted(photos.iterdir()))
    press_run(page)
    page.wait_for_timeout(2000)
    held[0].fulfill(status=500)
    page.wait_for_timeout(2000)
    assert server.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert server.get("/history") == {}
    page.unroute("**/upload/image")
    held[1].continue_()
    _, _, prompt, extra, _ = wait_for_success(server)["prompt"]
    (node,) = (n for n in prompt.values() if n["class_type"] == "DreamBoothLoadInstanceImages")
    names = node["inputs"]["photos"]
    assert len(names) == 2 and set(names) < {photo.name for photo in photos.iterdir()}
    saved = extra["extra_pnginfo"]["workflow"]["nodes"]
    assert names in [node.get("widgets_values_named", {}).get("photos") for node in saved]


def test_nothing_is_run_when_another_tab_was_opened_while_photos_uploaded(page, server, photos):
    page.evaluate(PHOTOS_ALONE)
    held: list[Route] = []
    page.route("**/upload/image", lambda route: held.append(route))
    choose(page, sorted(photos.iterdir()))
    press_run(page)
    page.wait_for_timeout(1000)
    command(page, "Workspace.PreviousOpenedWorkflow")
    page.wait_for_function("app.graph.nodes.every(n => n.type !== 'DreamBoothLoadInstanceImages')")
    page.unroute("**/upload/image")
    held[0].continue_()
    page.get_by_text("Not run: another workflow was opened").wait_for()
    assert server.get("/history") == {}


def test_report_and_crops_are_back_when_a_tab_is_opened_again(page, server, photos):
    page.evaluate(PHOTOS_ALONE)
    upload(page, sorted(photos.iterdir()))
    press_run(page)
    page.wait_for_function("app.ui.lastQueueSize || app.graph.nodes.some(n => n.images)")
    for _ in range(2):
        command(page, "Workspace.PreviousOpenedWorkflow")
        page.wait_for_function("app.graph.nodes.every(n => n.comfyClass !== 'PreviewImage')")
        crops = photo_outputs(wait_for_success(server))
        command(page, "Workspace.NextOpenedWorkflow")
        page.wait_for_function("app.graph.nodes.some(n => n.comfyClass === 'PreviewImage')")
        page.wait_for_timeout(2000)
        report = "node.widgets.find(w => w.name === 'dreambooth_report')?.element.textContent"
        assert "3 photos" in str(node_state(page, "DreamBoothLoadInstanceImages", report))
        assert node_state(page, "DreamBoothLoadInstanceImages", "node.images") == crops


def photo_outputs(entry: Json) -> list[Json]:
    """The crops that the photos' node has shown."""
    return next(o["images"] for o in entry["outputs"].values() if "report" in o)


@pytest.mark.slow
def test_the_results_of_a_node_in_a_subgraph_replace_its_preview(page, server, photos):
    for photo in photos.iterdir():
        server.upload_image(photo, "dog")
    page.evaluate(TRAINING_IN_A_SUBGRAPH)
    press_run(page)
    wait_for_success(server)
    page.evaluate("app.canvas.setGraph(app.graph.subgraphs.values().next().value)")
    page.wait_for_timeout(2000)
    inner = "app.canvas.graph.nodes[0]"
    assert page.evaluate(f"{inner}.imgs.length") == 2
    assert page.evaluate(f"app.nodePreviewImages[{inner}.id]") is not None


def test_the_first_example_makes_a_lora_and_pictures(page, server, dog_photos, tmp_path):
    open_template(page, "DreamBooth 1 - train and sample")
    upload(page, sorted(dog_photos.iterdir()))
    page.evaluate(SET_WIDGETS, SMALL)
    press_run(page)
    page.wait_for_function(
        """() => [...document.querySelectorAll(".dreambooth-message")].some(
          e => /Step \\d+\\/12, loss/.test(e.textContent))""",
        timeout=400_000,
    )
    wait_for_success(server)
    page.wait_for_timeout(2000)
    assert toasts(page) == []
    shown = page.evaluate("Object.values(app.nodeOutputs).map(o => o.images?.length ?? 0)")
    assert sorted(count for count in shown if count)[-2:] == [5, 6]
    report = "node.widgets.find(w => w.name === 'dreambooth_report').element.textContent"
    assert "photos" in str(node_state(page, "DreamBoothLoadInstanceImages", report))
    assert page.get_by_text("Saved the LoRA: my_dog.safetensors").count() == 1
    assert node_state(page, "DreamBoothTrain", "node.imgs.length") == 2
    screenshot(page, tmp_path)


def screenshot(page: Page, folder: Path) -> None:
    """Save a screenshot of the finished graph, in DREAMBOOTH_SCREENSHOTS if it is set."""
    target = Path(os.environ.get("DREAMBOOTH_SCREENSHOTS") or folder)
    page.evaluate("app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
    page.set_viewport_size({"width": 1780, "height": 920})
    page.wait_for_timeout(3000)
    page.screenshot(path=target / "comfyui.png")
