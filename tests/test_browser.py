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
from tests import comfy_host
from tests.comfy_host import ComfyServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

REASON = comfy_host.skip_reason() or comfy_host.browser_skip_reason()
pytestmark = [
    pytest.mark.comfy,
    pytest.mark.browser,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

PACK = Path(__file__).parents[1]
WORKFLOWS = sorted((PACK / "example_workflows").glob("*.json"))
CHECKPOINTS = {"v1-5-pruned-emaonly-fp16": "sd1", "sd_xl_base_1.0": "sdxl"}
SIDE = 128  # pixels of training and pictures
SMALL = {  # what makes the first example run in a minute on a CPU
    "DreamBoothLoadInstanceImages": {"resolution": SIDE},
    "DreamBoothGenerateClassImages": {"resolution": SIDE, "num_class_images": 4, "steps": 2},
    "DreamBoothTrain": {"max_train_steps": 12, "sample_every": 6, "sample_inference_steps": 2},
    "DreamBoothSample": {"width": SIDE, "height": SIDE, "steps": 2},
}
KNOWN_ERRORS = re.compile(r"reading 'id'")  # ComfyUI's own, with any pack
SET_WIDGETS = """changes => {
  for (const node of app.graph.nodes)
    for (const [name, value] of Object.entries(changes[node.type] ?? {}))
      node.widgets.find(w => w.name === name).value = value;
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
    """The page; it must come through without errors and without toasts."""
    with comfy_host.browser_page(server) as opened:
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        yield opened
        assert [error for error in errors if not KNOWN_ERRORS.search(error)] == []


def toasts(page: Page) -> list[str]:
    return page.locator(".p-toast-message").all_inner_texts()


def open_template(page: Page, title: str) -> None:
    """Choose an example from the page's own template browser."""
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("dreambooth", exact=True).first.click()
    page.get_by_text(title).first.click()
    page.wait_for_function("app.graph.nodes.some(node => node.type === 'DreamBoothTrain')")


def upload(page: Page, photos: list[Path]) -> None:
    with page.expect_file_chooser() as chooser:
        page.evaluate(
            """() => {
              const node = app.graph.nodes.find(n => n.type === "DreamBoothLoadInstanceImages");
              node.widgets.find(w => w.name === "upload").callback();
            }"""
        )
    chooser.value.set_files(photos)
    page.wait_for_function(
        """count => app.graph.nodes.find(n => n.type === "DreamBoothLoadInstanceImages")
          .widgets.find(w => w.name === "photos").value.length === count""",
        arg=len(photos),
    )


def wait_for_success(server: ComfyServer, timeout: float = 400) -> None:
    """Wait for the one graph that the page has queued."""
    deadline = time.monotonic() + timeout
    while not (history := server.get("/history")):
        assert time.monotonic() < deadline, server.log_text()[-2000:]
        time.sleep(0.2)
    (entry,) = history.values()
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1]


def node_state(page: Page, kind: str, script: str) -> object:
    return page.evaluate(
        f"kind => (node => {script})(app.graph.nodes.find(n => n.type === kind))", kind
    )


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_examples_load_without_complaint_and_keep_every_value(page, file):
    workflow = json.loads(file.read_text("utf-8"))
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(1000)
    assert toasts(page) == []
    assert page.locator(".p-dialog").count() == 0
    saved = page.evaluate("app.graph.serialize()")
    assert len(saved["links"]) == len(workflow["links"])
    values = {node["id"]: node.get("widgets_values") for node in saved["nodes"]}
    for node in workflow["nodes"]:
        wanted = node.get("widgets_values")
        assert wanted is None or values[node["id"]][: len(wanted)] == wanted, node["type"]


def test_advanced_settings_hide_behind_a_button(page):
    page.evaluate("app.graph.clear()")
    page.evaluate("app.graph.add(LiteGraph.createNode('DreamBoothTrain'))")
    visible = "node.widgets.filter(w => node.isWidgetVisible(w)).map(w => w.name)"
    assert "alpha" not in node_state(page, "DreamBoothTrain", visible)
    height = node_state(page, "DreamBoothTrain", "node.size[1]")
    node_state(page, "DreamBoothTrain", "node.widgets.find(w => w.name === 'advanced').callback()")
    assert "alpha" in node_state(page, "DreamBoothTrain", visible)
    assert node_state(page, "DreamBoothTrain", "node.size[1]") > height
    assert node_state(page, "DreamBoothTrain", "node.serialize().showAdvanced") is True


def test_the_first_example_makes_a_lora_and_pictures(page, server, dog_photos, tmp_path):
    open_template(page, "DreamBooth 1 - train and sample")
    upload(page, sorted(dog_photos.iterdir()))
    page.evaluate(SET_WIDGETS, SMALL)
    page.locator("button:has-text('Run')").first.click()
    page.wait_for_function(
        """() => [...document.querySelectorAll("*")].some(
          e => !e.children.length && /step \\d+\\/12 · loss/.test(e.textContent))""",
        timeout=400_000,
    )
    wait_for_success(server)
    page.wait_for_timeout(2000)
    assert toasts(page) == []
    shown = page.evaluate("Object.values(app.nodeOutputs).map(o => o.images?.length ?? 0)")
    assert sorted(count for count in shown if count)[-2:] == [5, 6]
    report = "node.widgets.find(w => w.name === 'dreambooth_report').element.textContent"
    assert "photos" in str(node_state(page, "DreamBoothLoadInstanceImages", report))
    assert page.get_by_text("LoRA saved: my_dog.safetensors").count() == 1
    assert node_state(page, "DreamBoothTrain", "node.imgs.length") == 2
    screenshot(page, tmp_path)


def screenshot(page: Page, folder: Path) -> None:
    """A picture of the finished graph; for the documentation where DREAMBOOTH_SCREENSHOTS says."""
    target = Path(os.environ.get("DREAMBOOTH_SCREENSHOTS") or folder)
    page.evaluate("app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
    page.set_viewport_size({"width": 1780, "height": 920})
    page.wait_for_timeout(3000)
    page.screenshot(path=target / "comfyui.png")
