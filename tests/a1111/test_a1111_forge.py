"""The tab in a real A1111 and a real Forge, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.a1111.test_a1111_forge_keys import host_param
from tests.helpers.axe import axe_skip_reason, serious_faults
from tests.helpers.comfy_host import browser_skip_reason, users_env
from tests.helpers.webui_host import A1111, FORGE, PACK, WebUIServer, browser, logged_in
from tests.helpers.webui_models import save_for_a1111, save_for_forge
from tests.helpers.webui_page import (
    SMALL,
    cannot_train,
    choose,
    content,
    fill,
    give_photos,
    hold_events,
    hold_uploads,
    let_go,
    live,
    open_tab,
    screenshot,
    show_tab,
    wait_for_end,
    wait_for_state,
    wait_for_step,
    wait_until,
)
from tests.nodes.test_nodes import pack_module

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

fields = pack_module("a1111.fields")
NO_BROWSER = browser_skip_reason()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(NO_BROWSER is not None, reason=NO_BROWSER or ""),
]
HOSTILE = "<img src=x onerror=window.hacked=1>"
PROMPT = f"a photo of sks dog {HOSTILE}"
PHOTOS, CLEAR = (f"#dreambooth_uploads {inside}" for inside in ("input", "button[aria-label]"))
CHECKPOINTS = {  # where the page shows the selected one
    "a1111": "#setting_sd_model_checkpoint input",
    "forge": ".model_selection input",
}
LONG, SHORT = 100_000, 6  # steps: until it is stopped, and to its end
MODELS = {"a1111": save_for_a1111, "forge": save_for_forge}


# Forge has the same tab; its tests run separately, with -m forge.
HOSTS = [host_param(A1111, "a1111"), host_param(FORGE, "forge", pytest.mark.slow)]


@pytest.fixture(scope="module", params=HOSTS)
def host(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUIServer]:
    """A host with the pack, one small checkpoint, and a login."""
    data = tmp_path_factory.mktemp(request.param.name)
    server = WebUIServer(request.param, data)
    MODELS[request.param.name](data / "models")
    with server:
        yield server


@pytest.fixture(scope="module")
def context(host: WebUIServer) -> Iterator[BrowserContext]:
    with browser(host) as opened:
        yield opened


def reported(page: Page, files: list[Path]) -> bool:
    return f"{len(files)} photos" in page.inner_text("#dreambooth_report")


def unhurt(page: Page) -> bool:
    return page.evaluate("window.hacked === undefined")


def test_the_host_runs_install_at_its_start_and_keeps_its_packages(host):
    freeze = [str(host.kind.python), "-m", "pip", "freeze"]
    env = users_env() | {"PYTHONPATH": f"{host.kind.folder}:"}
    before = subprocess.check_output(freeze)
    begin = time.perf_counter()
    command = ["nice", "-n", "0", str(host.kind.python), str(PACK / "install.py")]
    answer = subprocess.run(command, env=env, cwd=host.kind.folder, capture_output=True, text=True)
    assert time.perf_counter() - begin < 2
    assert answer.returncode == 0, answer.stderr
    assert subprocess.check_output(freeze) == before
    assert "Error running install.py" not in host.log_text()


def test_strangers_learn_and_change_nothing(host):
    for path in ("state", "runs", "runs/dog/sample/step_000001_0"):
        assert host.ask(f"/dreambooth/{path}")[0] == 401
    for path in ("stop", "runs/dog/resume", "runs/dog/compare"):
        status, _ = host.ask(f"/dreambooth/{path}", {}, {"Origin": "http://evil.example"})
        assert status in (401, 403)


def test_one_who_is_logged_in_but_not_the_page_changes_nothing(host, context):
    request = context.request
    if host.kind is A1111:
        assert request.get(f"{host.url}/dreambooth/state").status == 200
        assert request.post(f"{host.url}/dreambooth/stop").status == 403
    else:
        assert host.api("/dreambooth/state") == {"job": None}


def test_the_tab_has_a_field_for_every_setting_and_none_is_kept(host, context):
    page = open_tab(context, host)
    for name in fields.SHOWN:
        assert page.locator(f"#dreambooth_{name}").count() == 1, name
    assert "SD 1.x checkpoint" in page.inner_text("#dreambooth_about")
    kept = json.loads((host.data / "ui-config.json").read_text("utf-8"))
    assert not [name for name in kept if name.lower().startswith("dreambooth")]
    cannot_train(page, "add your photos and an instance prompt.")
    page.close()


def test_photos_are_shown_as_they_will_be_trained_and_names_are_text(
    host, context, photos, tmp_path
):
    for index, path in enumerate(sorted(photos.iterdir())[:2]):
        shutil.copy(path, tmp_path / f"{index} {HOSTILE}.png")
    page = open_tab(context, host)
    fill(page, folder=tmp_path, instance_prompt=PROMPT)
    page.click("#dreambooth_look")
    page.wait_for_selector(".dreambooth-report")
    assert "2 photos" in page.inner_text("#dreambooth_report")
    wait_until(page, lambda: page.locator("#dreambooth_crops img").count() >= 2, "the crops")
    page.fill("#dreambooth_folder textarea", str(tmp_path / HOSTILE))
    page.click("#dreambooth_look")
    page.wait_for_selector("#dreambooth_report .dreambooth-problem")
    assert HOSTILE in page.inner_text("#dreambooth_report")
    assert unhurt(page)
    page.close()


@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_photos_arrive_though_the_page_changes_meanwhile(host, context, photos, locale):
    page = open_tab(logged_in(context.browser, host, locale), host)
    uploads = hold_uploads(page)
    files = sorted(photos.iterdir())
    page.set_input_files(PHOTOS, files)
    wait_until(page, lambda: uploads, "the upload's begin")
    goal = page.inner_text("#dreambooth_goal")
    choose(page, "preset", "low-vram-8")
    wait_until(page, lambda: page.inner_text("#dreambooth_goal") != goal, "the preset's goal")
    let_go(page, uploads, lambda: reported(page, files))
    page.context.close()


def test_photos_added_while_others_upload_are_sent_once(host, context, photos):
    if host.kind is FORGE:
        pytest.skip("Forge's field cannot be cleared meanwhile")
    page = open_tab(context, host)
    uploads = hold_uploads(page)
    wrong, *right = sorted(photos.iterdir())
    page.set_input_files(PHOTOS, wrong)
    wait_until(page, lambda: uploads, "the upload's begin")
    page.locator(CLEAR).first.click()
    page.set_input_files(PHOTOS, right)
    wait_until(page, lambda: len(uploads) == 2, "the other upload's begin")
    uploads[0]()
    page.wait_for_timeout(3000)
    assert len(uploads) == 2
    uploads[1]()
    wait_until(page, lambda: reported(page, right), "the report")
    page.close()


def test_other_photos_replace_those_that_are_being_looked_at(host, context, photos):
    page = open_tab(context, host)
    looks = hold_events(page)
    wrong, *right = sorted(photos.iterdir())
    page.set_input_files(PHOTOS, wrong)
    wait_until(page, lambda: looks, "a look")
    page.locator(CLEAR).first.click()
    page.set_input_files(PHOTOS, right)
    page.wait_for_timeout(1000)
    let_go(page, looks, lambda: reported(page, right))
    page.locator(CLEAR).first.click()
    wait_until(page, lambda: not page.inner_text("#dreambooth_report"), "no report")
    wait_until(page, lambda: not page.is_visible("#dreambooth_crops"), "no crops")
    page.close()


def test_a_training_survives_a_reload_stops_and_resumes(host, context, photos):
    page = open_tab(context, host)
    give_photos(page, photos)
    fill(page, **SMALL, instance_prompt=PROMPT, name="dog", max_train_steps=LONG, sample_every=2)
    page.click("#dreambooth_train")
    seen = wait_for_step(page)

    other = open_tab(context, host)
    cannot_train(other, "“dog” is running")
    other.close()

    account = {"Authorization": "Basic bWU6c2VjcmV0"}
    status, answer = host.ask("/sdapi/v1/txt2img", {"prompt": "a cat"}, account)
    assert status == 500
    assert "DreamBooth is using the GPU" in json.dumps(answer)

    page.reload(wait_until="domcontentloaded")
    show_tab(page)
    wait_for_step(page, beyond=seen)
    page.wait_for_selector("#dreambooth_live .dreambooth-picture img")
    wait_until(page, lambda: page.locator("#dreambooth_chart polyline").count(), "a loss curve")
    wait_until(page, lambda: content(page, "name") == "dog", "the form as it was")
    assert content(page, "instance_prompt") == PROMPT
    assert reported(page, list(photos.iterdir())) or page.wait_for_selector(".dreambooth-report")
    page.click("#dreambooth_live button:has-text('Stop')")
    wait_for_state(page, "stopped")
    stopped = int(re.findall(r"step (\d+)", live(page))[0])
    assert stopped > seen
    assert list(host.loras.glob("dog-step*.safetensors"))

    fill(page, name="other", instance_prompt="", max_train_steps=1)
    cannot_train(page, "an instance prompt")
    page.click("#dreambooth_live button:has-text('Load these settings')")
    wait_until(page, lambda: content(page, "max_train_steps") == str(LONG), "the run's settings")
    assert (content(page, "name"), content(page, "instance_prompt")) == ("dog", PROMPT)
    assert Path(content(page, "folder")).is_relative_to(host.runs)
    assert page.locator("#dreambooth_runs summary").count() == 1
    page.click("#dreambooth_live button:has-text('Resume')")
    assert wait_for_step(page, beyond=stopped) > stopped
    assert "step 1\n" in page.inner_text("#dreambooth_chart")
    page.click("#dreambooth_live button:has-text('Stop')")
    wait_for_state(page, "stopped")
    assert unhurt(page)
    page.close()


def test_the_host_generates_with_the_result(host, context, dog_photos):
    page = open_tab(context, host)
    give_photos(page, dog_photos)
    fill(page, **SMALL, instance_prompt=PROMPT, name="cat", max_train_steps=SHORT, save_every=2)
    fit = page.locator("#dreambooth_fit").first
    wait_until(page, lambda: "this computer's memory: about" in fit.inner_text(), "a plan")
    page.click("#dreambooth_train")
    wait_for_end(page, "Training cat")
    screenshot(page, host)
    assert host.draw("a dog") != host.draw("a dog <lora:cat:1>")
    assert host.draw("a dog") == host.draw("a dog <lora:nothing:1>")
    assert "cat" in [lora["name"] for lora in host.api("/sdapi/v1/loras")]
    assert json.loads((host.loras / "cat.json").read_text("utf-8"))["activation text"] == PROMPT
    field = page.locator("#txt2img_prompt textarea")
    field.evaluate("field => { field.value = 'at night' }")
    for _ in range(2):
        page.click("#tabs > .tab-nav button:has-text('DreamBooth')")
        page.click("#dreambooth_live button:has-text('Use in txt2img')")
        wait_until(page, lambda: "<lora:cat:1>" in field.input_value(), "the prompt")
    assert field.input_value().startswith("at night, a photo of sks dog")
    assert field.input_value().count("<lora:") == 1
    page.click("#txt2img_extra_tabs button:has-text('Lora')")
    page.click("#txt2img_lora_extra_refresh")
    page.wait_for_selector("#txt2img_lora_cards .card[data-name=cat] img")
    assert unhurt(page)
    page.close()


@pytest.mark.skipif(axe_skip_reason() is not None, reason=axe_skip_reason() or "")
def test_axe_finds_no_serious_fault_in_the_tab(host, context, photos):
    page = open_tab(context, host)
    give_photos(page, photos)
    fill(page, **SMALL, word="sks", noun="dog")
    page.click("#dreambooth_runs summary:has-text('cat')")
    page.wait_for_selector("#dreambooth_runs details[open] img")
    page.wait_for_timeout(1000)
    assert serious_faults(page, "#tab_dreambooth") == []
    page.close()


@pytest.mark.slow
def test_the_host_draws_with_a_checkpoint_that_was_trained(host, context, dog_photos):
    page = open_tab(context, host)
    before = host.draw("a dog")
    give_photos(page, dog_photos)
    fill(page, **SMALL | {"learning_rate": 0.001}, instance_prompt="sks", name="whole")
    choose(page, "method", "full")
    fill(page, max_train_steps=2)
    page.click("#dreambooth_train")
    wait_for_end(page, "Training whole")
    made = host.data / "models" / "Stable-diffusion" / "whole.safetensors"
    assert made.is_file() and not (host.loras / "whole.safetensors").exists()
    page.click("#dreambooth_live button:has-text('Use in txt2img')")
    field = page.locator("#txt2img_prompt textarea")
    wait_until(page, lambda: "sks" in field.input_value(), "the prompt")
    assert "<lora:" not in field.input_value()
    wait_until(page, lambda: chosen_checkpoint(host).startswith("whole."), "the checkpoint")
    shown = page.locator(CHECKPOINTS[host.kind.name]).first
    wait_until(page, lambda: shown.input_value().startswith("whole"), "its name on the page")
    assert chosen_checkpoint(host).startswith("whole.")
    assert host.draw("a dog") != before
    assert loaded_weights_complaints(host) == []
    page.click("#tabs > .tab-nav button:has-text('DreamBooth')")
    page.click("#dreambooth_live button:has-text('Compare')")
    wait_for_end(page, "Comparing before/after: whole")
    compared = host.runs / "whole" / "compare"
    images = [next((compared / name).glob("*.png")).read_bytes() for name in ("before", "after")]
    assert images[0] != images[1]
    host.api("/sdapi/v1/options", {"sd_model_checkpoint": "tiny.safetensors"})
    page.close()


def chosen_checkpoint(host: WebUIServer) -> str:
    return host.api("/sdapi/v1/options")["sd_model_checkpoint"]


def loaded_weights_complaints(host: WebUIServer) -> list[str]:
    marks = ("missing", "unexpected", "mismatch", "failed to load")
    return [line for line in host.log_text().splitlines() if any(m in line.lower() for m in marks)]


@pytest.mark.slow
def test_images_before_and_after_are_compared(host, context):
    page = open_tab(context, host)
    page.click("#dreambooth_runs summary:has-text('cat')")
    loss = page.locator("#dreambooth_runs details[open] img[src*='/loss/']")
    address = loss.get_attribute("src")
    page.click("#dreambooth_runs details[open] button:has-text('Compare')")
    wait_for_end(page, "Comparing before/after: cat")
    loaded = "[...document.querySelectorAll('#dreambooth_result img')].every(i => i.naturalWidth)"
    for panel in ("live", "runs"):
        after = page.locator(f"#dreambooth_{panel} .dreambooth-row figure:has-text('after')")
        wait_until(page, lambda after=after: after.count() == 3, "the images")
    wait_until(page, lambda: page.evaluate(loaded), "loaded images")
    assert "step 0" in page.inner_text("#dreambooth_runs details[open]")
    page.click("#dreambooth_live button:has-text('Save LoRA of step 4')")
    wait_until(page, lambda: "Saved cat-step00000004" in live(page), "the LoRA of a kept step")
    assert (host.loras / "cat-step00000004.safetensors").is_file()
    with page.expect_popup() as opened:
        page.click("#dreambooth_live a:has-text('Report')")
    opened.value.wait_for_load_state()
    shown = "[...document.images].every(image => image.naturalWidth) && document.images.length"
    assert opened.value.evaluate(shown) and unhurt(opened.value)
    opened.value.close()
    column = "[...document.querySelectorAll('#dreambooth_result > *')].filter(e => e.offsetParent)"
    lefts = page.evaluate(f"{column}.map(part => part.getBoundingClientRect().left)")
    higher = "(panel => panel.scrollHeight > panel.clientHeight)"
    assert page.evaluate(f"{higher}(document.querySelector('#dreambooth_result'))")
    assert len(set(lefts)) == 1, lefts  # one column, also where it is higher than the window
    assert (
        loss.get_attribute("src") != address
    )  # with the same address a browser may show a cached image
    page.close()


def test_a_host_that_quits_during_training_loses_nothing(host, context):
    page = open_tab(context, host)
    page.click("#dreambooth_runs summary:has-text('dog')")
    page.click("#dreambooth_runs details[open] button:has-text('Resume')")
    begun = wait_for_step(page)
    os.kill(host.process.pid, signal.SIGINT)
    events = host.runs / "dog" / "events.jsonl"
    wait_until(page, lambda: last_event(events)["event"] == "stopped", "a saved stop")
    assert last_event(events)["step"] >= begun
    assert last_event(events)["resumable"] is True


def last_event(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8").splitlines()[-1])
