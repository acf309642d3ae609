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
NO_AREAS = "this front end's Nodes 2.0 shows no elements of node packs"
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


DROP = """async ([area, urls]) => {
  const dropped = new DataTransfer();
  for (const url of urls) {
    const blob = await (await fetch(url)).blob();
    dropped.items.add(new File([blob], `dropped ${url.at(-1)}.png`, {type: "image/png"}));
  }
  for (const type of ["dragover", "drop"])
    area.dispatchEvent(new DragEvent(type, {dataTransfer: dropped, bubbles: true,
                                            cancelable: true}));
}"""
LINKED = """() => {
  app.graph.clear();
  const [photos, classes, train] =
    ["DreamBoothLoadInstanceImages", "DreamBoothGenerateClassImages", "DreamBoothTrain"]
    .map(kind => app.graph.add(LiteGraph.createNode(kind)));
  [photos, classes, train].forEach((node, index) => node.pos = [60 + 480 * index, 160]);
  photos.connect(0, train, train.findInputSlot("instance_set"));
  classes.connect(0, train, train.findInputSlot("class_set"));
}"""
FIELDS = """kind => Object.fromEntries(
  app.graph.nodes.find(n => n.type === "DreamBooth" + kind).widgets
  .map(w => [w.name, {value: w.value, label: w.label ?? w.name, hidden: !!w.hidden}]))"""
SET = """([kind, name, value]) => {
  const widget = app.graph.nodes.find(n => n.type === "DreamBooth" + kind).widgets
    .find(w => w.name === name);
  widget.value = value;
  widget.callback(value);
}"""
CONNECT = """() => {
  const [photos, classes] = app.graph.nodes;
  photos.connect(0, classes, classes.findInputSlot("instance_set"));
}"""
LOADED = """count => {
  const images = [...document.querySelectorAll(".dreambooth-photos img")];
  return images.length === count && images.every(image => image.naturalWidth > 0);
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
        page.screenshot(path=Path(folder) / f"{renderer}_{name}.png")


def test_photos_are_added_dropped_removed_and_shown_again_when_reopened(page, photos, server):
    if not has_areas(page):
        pytest.skip(NO_AREAS)
    add(page, "DreamBoothLoadInstanceImages")
    area = page.locator(".dreambooth-photos")
    first, second, third = sorted(photos.iterdir())
    area.locator("input").set_input_files([first, second])
    page.wait_for_function(LOADED, arg=2)
    area.locator("input").set_input_files([third])
    page.wait_for_function(LOADED, arg=3)
    assert page.evaluate(VALUES)["photos"] == [first.name, second.name, third.name]
    urls = [f"/view?filename={name}&type=input" for name in (first.name, second.name)]
    page.evaluate(DROP, [area.element_handle(), urls])
    page.wait_for_function(LOADED, arg=5)
    page.get_by_role("button", name=f"Remove {first.name}").click()
    page.wait_for_function(LOADED, arg=4)
    screenshot(page, "photos")
    load(page, page.evaluate(SERIALIZED))
    page.wait_for_function(LOADED, arg=4)
    assert first.name not in page.evaluate(VALUES)["photos"]
    page.get_by_role("button", name="Remove all photos").click()
    page.wait_for_function(LOADED, arg=0)
    assert page.evaluate(VALUES)["photos"] == ""


def has_areas(page: Page) -> bool:
    """Whether this renderer shows elements of node packs; older front ends' Nodes 2.0 does not."""
    new = page.evaluate("typeof app.nodeOutputs === 'object' && 'rootGraph' in app")
    return new or not page.evaluate("LiteGraph.vueNodesMode")


def test_a_workflow_with_photos_of_an_older_version_opens(page):
    add(page, "DreamBoothLoadInstanceImages", photos="one.png")
    assert page.evaluate(VALUES)["photos"] == ["one.png"]


def fields(page: Page, kind: str) -> dict[str, Any]:
    """The value, label and state of each field of a node."""
    page.wait_for_timeout(200)
    return page.evaluate(FIELDS, kind)


def put(page: Page, kind: str, name: str, value: object) -> None:
    """Set a field as a user does."""
    page.evaluate(SET, [kind, name, value])


def test_what_comes_over_a_wire_is_not_asked_twice(page):
    page.evaluate(LINKED)
    train = fields(page, "Train")
    assert train["num_class_images"]["hidden"] and train["class_seed"]["hidden"]
    assert not train["prior_loss_weight"]["hidden"]
    assert not fields(page, "GenerateClassImages")["class_prompt"]["hidden"]
    page.evaluate(CONNECT)
    page.wait_for_timeout(500)
    if page.evaluate("LiteGraph.vueNodesMode") and has_areas(page):
        assert page.get_by_text("class_prompt", exact=True).count() == 1  # that of the photos
    load(page, page.evaluate(SERIALIZED))
    classes = fields(page, "GenerateClassImages")
    assert [name for name in classes if classes[name]["hidden"]] == ["class_prompt", "resolution"]
    page.evaluate("app.graph.nodes[1].disconnectInput(app.graph.nodes[1].inputs.length - 1)")
    page.evaluate("app.graph.nodes[2].disconnectInput(4)")
    assert not fields(page, "Train")["num_class_images"]["hidden"]


def test_a_preset_fills_the_fields_and_what_differs_is_marked(page):
    page.evaluate(LINKED)
    put(page, "Train", "preset", "face")
    assert fields(page, "Train")["max_train_steps"]["value"] == 1200
    assert fields(page, "GenerateClassImages")["num_class_images"]["value"] == 200
    put(page, "Train", "preset", "style")
    train, photos = fields(page, "Train"), fields(page, "LoadInstanceImages")
    assert (train["rank"]["value"], photos["crop_mode"]["value"]) == (32, "none")
    assert fields(page, "GenerateClassImages")["num_class_images"]["value"] == 100  # its default
    assert train["preset_filled"] == {"value": True, "label": "preset_filled", "hidden": True}
    put(page, "Train", "rank", 16)
    put(page, "LoadInstanceImages", "crop_mode", "center")
    assert fields(page, "Train")["rank"]["label"] == "rank (preset: 32)"
    screenshot(page, "preset")
    load(page, page.evaluate(SERIALIZED))
    train = fields(page, "Train")
    assert (train["rank"]["value"], train["rank"]["label"]) == (16, "rank (preset: 32)")
    assert fields(page, "LoadInstanceImages")["crop_mode"]["label"] == "crop_mode (preset: none)"
    put(page, "Train", "rank", 32)
    assert fields(page, "Train")["rank"]["label"] == "rank"


def test_an_older_workflow_shows_what_its_preset_fills_in(page):
    workflow, node = train_node(page)
    node["widgets_values_named"] |= {"preset": "style", "rank": 16, "max_train_steps": 300}
    del node["widgets_values_named"]["preset_filled"]
    values = load(page, workflow)
    assert (values["rank"], values["max_train_steps"], values["preset_filled"]) == (32, 300, True)


def test_run_says_what_is_missing_and_fixes_it_by_a_click(page, server):
    if not has_areas(page):
        pytest.skip(NO_AREAS)
    page.evaluate(LINKED)
    put(page, "LoadInstanceImages", "instance_prompt", "a photo of a dog")
    put(page, "LoadInstanceImages", "class_prompt", "a photo of a dog")
    put(page, "GenerateClassImages", "class_prompt", "a cat")
    run = page.locator("button:has-text('Run')").first
    run.click()
    assert messages(page) == [
        "There are no photos. Add some, or name a folder of photos.",
        "The class prompt here is “a cat”, in Load Instance Images “a photo of a dog”."
        "Connect the photos: one class prompt for both",
    ]
    put(page, "LoadInstanceImages", "folder", "dog")
    page.get_by_text("Connect the photos").click()
    run.click()
    wait = "The instance prompt has no rare word: it is the class prompt.Use “a photo of sks dog”"
    assert messages(page) == [wait]
    screenshot(page, "message")
    page.get_by_text("Use “a photo of sks dog”").click()
    assert fields(page, "LoadInstanceImages")["instance_prompt"]["value"] == "a photo of sks dog"
    assert fields(page, "GenerateClassImages")["class_prompt"]["hidden"]
    assert messages(page) == []
    assert server.get("/queue") == {"queue_running": [], "queue_pending": []}
    assert server.get("/history") == {}


def messages(page: Page) -> list[str]:
    """What the nodes say, those on the left first."""
    page.wait_for_timeout(1000)
    found = [m for m in page.locator(".dreambooth-message").all() if m.is_visible()]
    texts = sorted(found, key=lambda message: (message.bounding_box() or {"x": 0})["x"])
    return [message.text_content() or "" for message in texts]


def test_texts_under_a_node_are_no_html(page):
    if not has_areas(page):
        pytest.skip(NO_AREAS)
    add(page, "DreamBoothTrain")
    text = "<img src=x onerror=alert(1)>\n<b>dog</b>"
    send(page, "dreambooth.status", {"node": "1", "text": text, "over": False})
    assert messages(page) == [text]
    assert page.locator(".dreambooth-message *").count() == 0


def send(page: Page, event: str, detail: Json) -> None:
    """Let the page hear an event of a run; the node is the one that was added last."""
    page.evaluate(
        """([event, detail]) => {
          const id = String(app.graph.nodes.at(-1).id);
          for (const name of ["node", "node_id", "display_node"])
            if (name in detail) detail[name] = id;
          app.api.dispatchCustomEvent(event, detail);
        }""",
        [event, detail],
    )


def test_the_line_on_a_node_never_stays_on_a_stage_that_is_over(page):
    if not has_areas(page):
        pytest.skip(NO_AREAS)
    add(page, "DreamBoothTrain")
    stage = {"node": "", "text": "Step 1/2, loss 0.1", "over": False}
    send(page, "dreambooth.status", stage)
    assert messages(page) == ["Step 1/2, loss 0.1"]
    send(page, "execution_success", {"prompt_id": "1"})
    assert messages(page) == []
    send(page, "dreambooth.status", stage)
    send(page, "execution_interrupted", {"node_id": "", "prompt_id": "1"})
    assert messages(page) == ["Canceled."]
    send(page, "execution_start", {"prompt_id": "2"})
    send(page, "dreambooth.status", stage)
    send(page, "executed", {"node": "", "display_node": "", "output": {"report": ["Saved."]}})
    send(page, "execution_success", {"prompt_id": "2"})
    assert messages(page) == ["Saved."]
    send(page, "execution_start", {"prompt_id": "3"})
    send(page, "dreambooth.status", {**stage, "text": "Stopped at step 1.", "over": True})
    send(page, "execution_interrupted", {"node_id": "", "prompt_id": "3"})
    assert messages(page) == ["Stopped at step 1."]
    failed = {"node_id": "", "node_type": "DreamBoothTrain", "exception_message": "No. Do this.\n"}
    send(page, "dreambooth.status", stage)
    send(page, "execution_error", {**failed, "prompt_id": "4", "traceback": []})
    assert messages(page) == ["No. Do this."]


def test_a_runs_report_opens_with_its_images_and_runs_nothing(page, server, photos):
    if not has_areas(page):
        pytest.skip(NO_AREAS)
    run = server.base_dir / "output" / "dreambooth" / "dog"
    (run / "samples").mkdir(parents=True, exist_ok=True)
    image = next(photos.iterdir())
    (run / "samples" / "a.png").write_bytes(image.read_bytes())
    (run / "report.html").write_text(
        "<!doctype html><html><head><title>dog</title></head><body><h1>Dog</h1>"
        '<img src="samples/a.png"><script>document.title = "ran"</script></body></html>'
    )
    add(page, "DreamBoothTrain")
    report = {"filename": "report.html", "subfolder": "dreambooth/dog", "type": "output"}
    output = {"report": ["Saved the LoRA: dog"], "page": [report], "images": []}
    page.evaluate("output => app.graph.nodes[0].onExecuted(output)", output)
    assert messages(page) == ["Saved the LoRA: dogOpen the report"]
    with page.context.expect_page() as opened:
        page.get_by_text("Open the report").click()
    opened.value.wait_for_selector("img")
    opened.value.wait_for_function("document.images[0].naturalWidth > 0")
    assert opened.value.title() == "dog"


def test_lists_of_loras_have_what_was_trained(page, server):
    name = f"new {page.evaluate('String(LiteGraph.vueNodesMode)')}.safetensors"
    page.evaluate(LINKED)
    page.evaluate("app.graph.add(LiteGraph.createNode('DreamBoothLoRALoader'))")
    (server.base_dir / "models" / "loras" / name).write_bytes(b"")
    listed = "name => app.graph.nodes[3].widgets[0].options.values.includes(name)"
    assert not page.evaluate(listed, name)
    page.evaluate("app.graph.nodes[2].onExecuted({report: ['Saved the LoRA'], images: []})")
    page.wait_for_function(listed, arg=name)


def test_a_new_run_shows_no_pictures_of_a_former_one(page, server, photos):
    server.upload_image(next(photos.iterdir()))
    add(page, "DreamBoothTrain")
    image = {"filename": next(photos.iterdir()).name, "subfolder": "", "type": "input"}
    send(page, "executed", {"node": "", "display_node": "1", "output": {"images": [image]}})
    page.evaluate("app.nodeOutputs[app.graph.nodes[0].id] = {images: [{}]}")
    send(page, "dreambooth.status", {"node": "", "text": "Checking the model …", "begins": True})
    page.wait_for_timeout(500)
    assert page.evaluate("app.nodeOutputs[app.graph.nodes[0].id]") is None
    assert not page.evaluate("app.graph.nodes[0].imgs?.length")
