"""From a host without any checkpoint to a training that outlives "Reload UI", in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from tests.a1111.test_a1111_forge import HOSTS, LONG, MODELS, NO_BROWSER
from tests.helpers.webui_host import FORGE, WebUIServer, browser
from tests.helpers.webui_page import (
    SMALL,
    cannot_train,
    choose,
    content,
    fill,
    hold_events,
    hold_uploads,
    let_go,
    live,
    open_tab,
    show_tab,
    wait_for_end,
    wait_for_state,
    wait_for_step,
    wait_until,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(NO_BROWSER is not None, reason=NO_BROWSER or ""),
]


@pytest.fixture(scope="module", params=HOSTS)
def host(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUIServer]:
    """A host with the pack, no checkpoint and no login."""
    data = tmp_path_factory.mktemp(request.param.name)
    with WebUIServer(request.param, data, login=False) as server:
        yield server


@pytest.fixture(scope="module")
def page(host: WebUIServer) -> Iterator[Page]:
    """One window for all the tests, which build on each other."""
    with browser(host) as context:
        yield open_tab(context, host)


@pytest.fixture
def folder(host: WebUIServer, photos: Path) -> Path:
    """A folder of photos that stays the same from test to test."""
    return Path(shutil.copytree(photos, host.data / "photos", dirs_exist_ok=True))


def refusal(page: Page, button: str) -> str:
    """Click a button, and return the tab's new error message."""
    page.evaluate("document.querySelector('#dreambooth_answer .dreambooth-problem')?.remove()")
    page.click(f"#dreambooth_{button}")
    return page.inner_text("#dreambooth_answer .dreambooth-problem")


def base_is_described(page: Page, text: str) -> None:
    wait_until(page, lambda: text in page.inner_text("#dreambooth_about"), text)


def times(folder: Path, pattern: str) -> dict[Path, int]:
    """When each of the files was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob(pattern) if path.is_file()}


def test_a_host_without_checkpoints_says_where_to_put_one(host, page, folder):
    base_is_described(page, "Put one into models/Stable-diffusion")
    fill(page, folder=folder, instance_prompt="a photo of sks dog", name="dog", **SMALL)
    cannot_train(page, "To train, add a base checkpoint.")
    assert not host.runs.exists()


def test_refresh_finds_a_checkpoint_and_one_of_another_family_is_refused(host, page):
    MODELS[host.kind.name](host.data / "models")
    sd3 = {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": torch.zeros(4, 4)}
    page.click("#dreambooth_base_refresh")
    base_is_described(page, "SD 1.x checkpoint")
    save_file(sd3, host.data / "models/Stable-diffusion/wrong.safetensors")
    page.click("#dreambooth_base_refresh")
    choose(page, "base", "wrong")
    base_is_described(page, "SD3")
    assert "SD3" in refusal(page, "train")
    choose(page, "base", "tiny")
    base_is_described(page, "SD 1.x checkpoint")
    assert not host.runs.exists()


@pytest.mark.slow
def test_rare_words_are_suggested_and_the_users_own_is_rated(host, page):
    assert "“Class prompt” is empty" in refusal(page, "suggest")
    fill(page, instance_prompt="", word="sks", noun="dog")
    wait_until(page, lambda: content(page, "class_prompt") == "a photo of a dog", "the prompts")
    wait_until(page, lambda: not page.is_visible("#dreambooth_answer"), "no message that is over")
    assert content(page, "instance_prompt") == "a photo of sks dog"
    fill(page, instance_prompt="a picture of sks dog", noun="owl")
    for noun in ("an owl", "a dog"):
        prompt = f"a photo of {noun}"
        wait_until(page, lambda prompt=prompt: content(page, "class_prompt") == prompt, prompt)
        fill(page, noun="dog")
    assert content(page, "instance_prompt") == "a picture of sks dog"  # which was edited
    page.click("#dreambooth_suggest")
    wait_for_end(page, "Rating words")
    own, *proposed = page.locator(".dreambooth-rating").all_inner_texts()
    assert own.startswith("sks: one rare token, ")
    assert len(proposed) == 8 and all("one rare token" in text for text in proposed)
    fill(page, class_prompt="")
    assert [path.name for path in host.runs.iterdir()] == [".work"]
    shutil.rmtree(host.runs)


def test_a_number_that_cannot_be_read_is_not_taken_for_none(host, page):
    fill(page, snr_gamma="")
    assert "“Min-SNR gamma” is 'empty or not a number'" in refusal(page, "train")
    fill(page, snr_gamma=0)


def test_photos_that_were_removed_before_train_are_missed(host, page, folder):
    page.click("#dreambooth_look")
    page.wait_for_selector(".dreambooth-report")
    for path in folder.iterdir():
        path.unlink()
    assert "contains no photos" in refusal(page, "train")
    folder.rmdir()
    assert "There is no folder" in refusal(page, "train")
    assert not host.runs.exists()


def test_buttons_wait_for_photos_that_are_uploading(host, page, photos):
    again = open_tab(page.context, host)
    before = host.ask("/dreambooth/state")
    uploads = hold_uploads(again)
    again.set_input_files("#dreambooth_uploads input", sorted(photos.iterdir()))
    wait_until(again, lambda: uploads, "the upload's begin")
    cannot_train(again, "photos are still uploading")
    for button in ("look", "make"):
        again.click(f"#dreambooth_{button}")
        again.wait_for_selector("#dreambooth_live p:has-text('still uploading')")
        again.evaluate("document.querySelector('#dreambooth_live p').textContent = ''")
    let_go(again, uploads, lambda: "photos, " in again.inner_text("#dreambooth_report"))
    assert "still uploading" not in live(again)
    assert host.ask("/dreambooth/state") == before
    again.close()


def test_a_base_chosen_while_the_list_is_made_stays(host, page):
    if host.kind is FORGE:
        pytest.skip("Forge's list cannot be opened meanwhile")
    again = open_tab(page.context, host)
    base_is_described(again, "SD 1.x checkpoint")
    asked = hold_events(again)
    again.click("#dreambooth_base_refresh")
    wait_until(again, lambda: asked, "a look at the folder")
    asked.pop()()
    wait_until(again, lambda: asked, "the new list")
    choose(again, "base", "wrong")
    let_go(again, asked, lambda: "SD3" in again.inner_text("#dreambooth_about"))
    again.wait_for_timeout(2000)
    assert again.input_value("#dreambooth_base input").startswith("wrong")
    again.close()


def test_the_last_chosen_base_is_described(host, page):
    again = open_tab(page.context, host)
    base_is_described(again, "SD 1.x checkpoint")
    again.wait_for_timeout(2000)
    asked = hold_events(again)
    choose(again, "base", "wrong")
    wait_until(again, lambda: asked, "what it is")
    choose(again, "base", "tiny")
    let_go(again, asked, lambda: "SD3" in again.inner_text("#dreambooth_about"))
    let_go(again, asked, lambda: "SD 1.x checkpoint" in again.inner_text("#dreambooth_about"))
    again.close()


def test_a_preset_fills_in_immediately_and_an_unknown_one_changes_nothing(host, page):
    again = open_tab(page.context, host)
    base_is_described(again, "SD 1.x checkpoint")
    again.wait_for_timeout(2000)  # for the page's first events, which would be held too
    hold_events(again)
    steps = again.locator("#dreambooth_max_train_steps input")
    for preset, number in (("style", 1500), ("environment", 1200)):
        choose(again, "preset", preset)
        again.wait_for_timeout(500)
        assert steps.input_value() == str(number)
        assert f"Steps {number}" in again.inner_text("#dreambooth_goal")
    fill(again, max_train_steps=900)
    changed = again.locator("#dreambooth_differs")
    wait_until(again, lambda: changed.inner_text() == "Changed since the preset: Steps.", "marks")
    assert again.locator("#dreambooth_max_train_steps[data-differs]").count() == 1
    fill(again, max_train_steps=1200)
    wait_until(again, lambda: changed.inner_text() == "", "no marks")
    again.fill("#dreambooth_preset input", "nonsense")
    again.locator("#dreambooth_preset input").blur()
    again.wait_for_timeout(1000)
    assert steps.input_value() == "1200"
    assert "KeyError" not in host.log_text()
    again.close()


def test_settings_are_saved_to_a_file_and_loaded_from_it(host, page, tmp_path):
    again = open_tab(page.context, host)
    file, panel = tmp_path / "settings.json", "#dreambooth_file"
    fill(again, max_train_steps=77, instance_prompt="a photo of sks dog")
    with again.expect_download() as download:
        again.click(f"{panel} button:has-text('Save')")
    download.value.save_as(file)
    assert json.loads(file.read_text("utf-8"))["max_train_steps"] == 77
    fill(again, max_train_steps=1, instance_prompt="")
    again.set_input_files(f"{panel} input", file)
    wait_until(again, lambda: content(again, "max_train_steps") == "77", "the settings")
    assert content(again, "instance_prompt") == "a photo of sks dog"
    file.write_text('{"rank": "many"}')
    again.set_input_files(f"{panel} input", file)
    wait_until(again, lambda: "“LoRA rank” is 'many'" in live(again), "what is wrong")
    again.close()


def test_a_host_that_does_not_respond_is_asked_again(host, page):
    again = page.context.new_page()
    again.add_init_script(
        "const timeout = AbortSignal.timeout; AbortSignal.timeout = (ms) =>"
        " timeout.call(AbortSignal, ms / 10)"
    )
    again.goto(host.url, wait_until="domcontentloaded")
    show_tab(again)
    again.route("**/dreambooth/state", lambda route: None, times=1)
    wait_until(again, lambda: "The host is not responding" in live(again), "a timeout")
    wait_until(again, lambda: "The host is not responding" not in live(again), "another answer")
    again.close()


@pytest.mark.slow
def test_class_images_that_the_button_makes_are_used_by_the_training(host, page, folder):
    assert "“Class prompt” is empty" in refusal(page, "make")
    fill(page, class_prompt="a photo of a dog", num_class_images=2, class_inference_steps=2)
    page.click("#dreambooth_make")
    wait_until(page, lambda: "will reuse these class images" in live(page), "class images")
    made = times(host.runs / "cache/class_images", "*.png")
    assert len(made) == 2
    fill(page, max_train_steps=2)
    page.click("#dreambooth_train")
    wait_until(page, lambda: "LoRA: dog.safetensors" in live(page), "a LoRA")
    lines = (host.runs / "dog/events.jsonl").read_text("utf-8").splitlines()
    started = next(event for event in map(json.loads, lines) if event["event"] == "started")
    assert started["num_class_images"] == 2
    assert times(host.runs / "cache/class_images", "*.png") == made


@pytest.mark.slow
def test_a_name_that_exists_gets_a_number_and_its_run_outlives_reload_ui(host, page, folder):
    first = times(host.runs / "dog", "*") | times(host.loras, "dog.*")
    fill(page, max_train_steps=LONG)
    page.click("#dreambooth_train")
    wait_until(page, lambda: "Training dog_2" in live(page), "a name of its own")
    seen = wait_for_step(page)
    page.click("#tabs > .tab-nav button:has-text('Settings')")
    page.click("#settings_restart_gradio")
    wait_until(page, lambda: host.log_text().count("Startup time") == 2, "the host once more")
    again = open_tab(page.context, host)
    assert wait_for_step(again, beyond=seen) > seen
    assert "Training dog_2" in live(again)
    again.click("#dreambooth_live button:has-text('Stop')")
    wait_for_state(again, "stopped")
    assert "LoRA so far: dog_2-step" in live(again)
    assert list(host.loras.glob("dog_2-step*.safetensors"))
    assert times(host.runs / "dog", "*") | times(host.loras, "dog.*") == first
    assert "dreambooth_webui.py" not in host.log_text()
