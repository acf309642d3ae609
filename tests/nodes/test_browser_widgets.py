"""The rows of our nodes in ComfyUI's own page: what they keep, and which of them are shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json

if TYPE_CHECKING:
    from playwright.sync_api import Page

REASON = comfy_host.skip_reason() or comfy_host.browser_skip_reason()
pytestmark = [
    pytest.mark.comfy,
    pytest.mark.browser,
    pytest.mark.skipif(REASON is not None, reason=REASON or ""),
]

PACK = Path(__file__).parents[2]
CHANGED = {"output_name": "my_cat", "rank": 4, "alpha": 2.5, "sample_prompts": "a cat\na dog"}
BASIC_ROWS = [
    "preset", "output_name", "max_train_steps", "learning_rate", "rank", "train_text_encoder",
    "seed", "if_stopped",
]  # fmt: skip
ADD = """([kind, changes]) => {
  app.graph.clear();
  const node = app.graph.add(LiteGraph.createNode(kind));
  node.pos = [60, 120];
  for (const [name, value] of Object.entries(changes))
    node.widgets.find(w => w.name === name).value = value;
}"""
VALUES = "Object.fromEntries(app.graph.nodes.at(-1).widgets.map(w => [w.name, w.value]))"
SERIALIZED = "JSON.parse(JSON.stringify(app.graph.serialize()))"
BUTTONS = """() => LiteGraph.vueNodesMode
  ? [...document.querySelectorAll("[data-node-id] button")].map(b => b.innerText.trim())
      .filter(text => /advanced/i.test(text))
  : app.graph.nodes[0].widgets.filter(w => w.type === "button").map(w => w.label)"""
ROWS = """() => {
  const [node] = app.graph.nodes;
  const rows = node.widgets.filter(w => w.type !== "button");
  const leaves = [...document.querySelectorAll("[data-node-id] *")].filter(e => !e.children.length);
  const texts = new Set(leaves.map(e => e.innerText));
  return rows.filter(w => LiteGraph.vueNodesMode ? texts.has(w.name) : node.isWidgetVisible(w))
    .map(w => w.name);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    folder = tmp_path_factory.mktemp("comfy")
    with ComfyServer(PACK, folder, env={"DREAMBOOTH_PYTHON": sys.executable}) as host:
        yield host


@pytest.fixture(params=[False, True], ids=["classic", "Nodes 2.0"])
def page(server: ComfyServer, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in one of its two renderers."""
    server.post("/settings", {"Comfy.VueNodes.Enabled": request.param})
    with comfy_host.browser_page(server) as opened:
        opened.wait_for_function(f"LiteGraph.vueNodesMode === {str(request.param).lower()}")
        yield opened


def add(page: Page, kind: str, **changes: object) -> None:
    page.evaluate(ADD, [kind, changes])
    page.wait_for_timeout(500)


def train_node(page: Page) -> tuple[Json, Json]:
    """A workflow of one training node with changed values, and this node in it."""
    add(page, "DreamBoothTrain", **CHANGED)
    workflow = page.evaluate(SERIALIZED)
    (node,) = workflow["nodes"]
    return workflow, node


def load(page: Page, workflow: Json) -> dict[str, Any]:
    """The values of the workflow's one node, after it was opened."""
    page.evaluate("app.graph.clear()")
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    page.wait_for_timeout(500)
    return page.evaluate(VALUES)


def test_values_come_back_by_name_when_their_places_have_changed(page):
    workflow, node = train_node(page)
    before = page.evaluate(VALUES)
    node["widgets_values"].reverse()
    assert load(page, workflow) == before
    assert CHANGED.items() <= before.items()


def test_a_saved_value_that_is_missing_or_unknown_changes_no_other(page):
    workflow, node = train_node(page)
    before = page.evaluate(VALUES)
    del node["widgets_values_named"]["rank"], node["widgets_values"][0]
    node["widgets_values_named"]["removed_setting"] = 7
    after = load(page, workflow)
    assert after == {**before, "rank": 16}  # its default
    assert "removed_setting" not in page.evaluate(SERIALIZED)["nodes"][0]["widgets_values_named"]


def test_values_without_names_are_left_as_comfyui_restores_them(page):
    workflow, node = train_node(page)
    before = page.evaluate(VALUES)
    del node["widgets_values_named"]
    assert load(page, workflow) == before


def test_several_photos_and_a_copy_keep_their_values(page):
    photos = ["a.png", "b.png"]
    add(page, "DreamBoothLoadInstanceImages", photos=photos, class_prompt="a photo of a dog")
    before = page.evaluate(VALUES)
    page.evaluate("app.canvas.copyToClipboard(app.graph.nodes)")
    page.evaluate("app.canvas.pasteFromClipboard()")
    assert page.evaluate("app.graph.nodes.length") == 2
    assert page.evaluate(VALUES) == before
    assert before["photos"] == photos


def test_a_seed_keeps_what_happens_to_it_after_a_run(page):
    add(page, "DreamBoothSample", seed=7, control_after_generate="increment")
    values = load(page, page.evaluate(SERIALIZED))
    assert (values["seed"], values["control_after_generate"]) == (7, "increment")


def test_one_button_shows_the_advanced_inputs_and_hides_them_again(page):
    add(page, "DreamBoothTrain")
    if page.evaluate("LiteGraph.vueNodesMode") and not page.evaluate(BUTTONS):
        pytest.skip("this front end's Nodes 2.0 shows every input at all times")
    assert page.evaluate(ROWS) == BASIC_ROWS
    assert page.evaluate(BUTTONS) == ["Show advanced inputs"]
    height = page.evaluate("app.graph.nodes[0].size[1]")
    screenshot(page, "closed")
    press_button(page)
    assert page.evaluate(BUTTONS) == ["Hide advanced inputs"]
    assert {"alpha", "prior_target"} < set(page.evaluate(ROWS))
    assert page.evaluate("app.graph.nodes[0].size[1]") > height
    screenshot(page, "open")
    press_button(page)
    assert page.evaluate(ROWS) == BASIC_ROWS


def press_button(page: Page) -> None:
    """Click on the advanced button, the page's or ours."""
    if page.evaluate("LiteGraph.vueNodesMode"):
        page.get_by_role("button", name="advanced inputs").evaluate("button => button.click()")
    else:
        page.evaluate("app.graph.nodes[0].widgets.find(w => /advanced/i.test(w.label)).callback()")
    page.wait_for_timeout(1000)


def test_a_workflow_that_was_saved_open_opens_open(page):
    add(page, "DreamBoothTrain")
    page.evaluate("app.graph.nodes[0].toggleAdvanced()")
    load(page, page.evaluate(SERIALIZED))
    assert page.evaluate("app.graph.nodes[0].showAdvanced") is True
    assert "alpha" in page.evaluate(ROWS)


def screenshot(page: Page, name: str) -> None:
    if folder := os.environ.get("DREAMBOOTH_SCREENSHOTS"):
        renderer = "nodes2" if page.evaluate("LiteGraph.vueNodesMode") else "classic"
        page.screenshot(path=Path(folder) / f"train_{renderer}_{name}.png")
