"""What a request can reach in a real A1111 and a real Forge: files, routes and the page's key."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.a1111.test_a1111_forge import HOSTS, MODELS, NO_BROWSER
from tests.helpers.webui_host import FORGE, WebUIServer

CAPTION = "my password is 1234"
ROUTES = ("key", "state", "runs", "runs/dog/sample/step_000001_0")
OTHER_SITES = (
    {"Host": "evil.example:7860"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
)


@pytest.fixture(scope="module", params=HOSTS)
def host(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUIServer]:
    """A host without a login, for this machine alone."""
    yield from started(request.param, tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="module", params=HOSTS)
def far_host(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUIServer]:
    """A host that is told a name to listen on, so that others may use its page."""
    folder = tmp_path_factory.mktemp("far")
    flags = ["--server-name", "127.0.0.1", "--gradio-allowed-path", str(folder / "listed")]
    yield from started(request.param, folder, *flags)


@pytest.fixture(scope="module", params=HOSTS)
def shut_host(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUIServer]:
    """A host that hides its fields for folders."""
    yield from started(request.param, tmp_path_factory.mktemp("shut"), "--hide-ui-dir-config")


def started(kind: Any, folder: Path, *flags: str) -> Iterator[WebUIServer]:
    server = WebUIServer(kind, folder / "data", login=False, flags=flags)
    MODELS[kind.name](server.data / "models")
    with server:
        yield server


@pytest.fixture
def secret(tmp_path: Path, photos: Path) -> Path:
    """Photos outside of every host's folders, one with a caption."""
    folder = tmp_path / "secret"
    shutil.copytree(photos, folder)
    (folder / "photo_0.txt").write_text(CAPTION)
    return folder


def page_key(host: WebUIServer) -> str:
    status, answer = host.ask("/dreambooth/key")
    assert status == 200, answer
    return answer["key"]


class Tab:
    """The tab's functions, called as a program can: by gradio's API."""

    def __init__(self, host: WebUIServer) -> None:
        self.host = host
        _, self.config = host.ask("/config")
        self.parts = {part["id"]: part["props"] for part in self.config["components"]}

    def field(self, name: str) -> Mapping[str, Any]:
        """What the page knows of a field."""
        found = [p for p in self.parts.values() if p.get("elem_id") == f"dreambooth_{name}"]
        assert len(found) == 1, name
        return found[0]

    def click(self, button: str, key: str, **values: object) -> tuple[int, str]:
        """The status of a click on a button with these contents of the fields, and the answer."""
        index, inputs = self.inputs(button)
        named = {f"dreambooth_{name}": value for name, value in values.items()}
        parts = [self.parts[number] for number in inputs[1:]]
        filled = [named.get(part.get("elem_id") or "", part.get("value")) for part in parts]
        body = {"fn_index": index, "data": [key, *filled], "session_hash": None}
        status, answer = self.host.ask("/run/predict", body)
        return status, str(answer)

    def inputs(self, button: str) -> tuple[int, list[int]]:
        for index, dependency in enumerate(self.config["dependencies"]):
            for target in dependency["targets"]:
                part = self.parts.get(target[0] if isinstance(target, list) else target, {})
                if part.get("elem_id") == f"dreambooth_{button}" and dependency["backend_fn"]:
                    return index, dependency["inputs"]
        raise AssertionError(f"{button} does nothing")


PROMPTS = {"instance_prompt": "a photo of sks dog", "class_prompt": "a photo of a dog"}


def upload(path: Path) -> dict[str, Any]:
    """A file as gradio's page names one that it has uploaded."""
    return {"name": str(path), "path": str(path), "is_file": True, "data": None, "orig_name": "x",
            "meta": {"_type": "gradio.FileData"}}  # fmt: skip


def test_pages_of_other_sites_learn_nothing(host):
    for other in OTHER_SITES:
        for route in ROUTES:
            status, answer = host.ask(f"/dreambooth/{route}", headers=other)
            assert status == 403, (other, route)
            assert "--cors-allow-origins" in answer["detail"]
        key = {"X-DreamBooth-Key": page_key(host)}
        assert host.ask("/dreambooth/stop", {}, {**other, **key})[0] == 403, other


def test_the_hosts_own_page_and_programs_are_answered(host):
    own = host.url.removeprefix("http://")
    for headers in (
        {}, {"Host": f"localhost:{host.port}"}, {"Host": f"[::1]:{host.port}"},
        {"Host": "192.168.7.8"}, {"Origin": host.url}, {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Host": "127.0.0.1", "X-Forwarded-Host": own, "Origin": host.url},
    ):  # fmt: skip
        assert host.ask("/dreambooth/state", headers=headers) == (200, {"job": None}), headers


def test_the_page_does_not_hold_its_key(host):
    key = page_key(host)
    for path in ("/", "/config"):
        status, answer = host.ask(path)
        assert status == 200 and "dreambooth" in str(answer)
        assert key not in str(answer)


@pytest.mark.browser
@pytest.mark.skipif(NO_BROWSER is not None, reason=NO_BROWSER or "")
def test_a_site_that_points_its_name_to_this_machine_gets_no_key(host, secret):
    from playwright.sync_api import sync_playwright

    name = "evil.example"
    arguments = ["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {name} 127.0.0.1"]
    chromium = shutil.which("chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=arguments) as browser,
    ):
        page = browser.new_page()
        page.route(re.compile(rf"^https?://(?!{name})"), lambda route: route.abort())
        page.goto(f"http://{name}:{host.port}", wait_until="domcontentloaded")
        page.wait_for_selector("#txt2img_generate", state="visible", timeout=120_000)
        page.click("#tabs > .tab-nav button:has-text('DreamBooth')")
        page.wait_for_selector('#dreambooth_live :text("only answers the host\'s own page")')
        page.fill("#dreambooth_folder textarea", str(secret))
        page.click("#dreambooth_look")
        page.wait_for_selector("#dreambooth_report .dreambooth-problem:has-text('Reload it')")
        assert CAPTION not in page.content()


def test_without_the_pages_key_no_button_does_anything(host, secret):
    tab = Tab(host)
    for button in ("look", "train", "make"):
        for key in ("", "guess", None, 5):
            status, answer = tab.click(button, key, folder=str(secret), **PROMPTS)
            assert status == 200 and "Reload it" in answer, (button, key)
            assert CAPTION not in answer
    assert not host.runs.exists()


def test_on_this_machine_alone_its_user_names_any_folder(host, secret):
    status, answer = Tab(host).click("look", page_key(host), folder=str(secret), **PROMPTS)
    assert status == 200 and "3 photos" in answer


def test_the_upload_field_takes_only_what_was_uploaded(host, secret):
    for path in (
        secret / "photo_1.png", secret / "photo_0.txt", Path("/etc/passwd"),
        Path("/tmp/gradio/../../etc/passwd"),
    ):  # fmt: skip
        for button in ("look", "train"):
            files = [upload(secret / "photo_1.png"), upload(path)]
            status, answer = Tab(host).click(button, page_key(host), uploads=files, **PROMPTS)
            assert "was not uploaded" in answer or (host.kind is FORGE and status == 500)
            assert str(secret) not in answer and "/etc" not in answer and CAPTION not in answer
    assert not list(host.runs.rglob("photos/*"))


def test_a_shared_run_is_resumed_neither_through_links_nor_with_others_paths(host, tmp_path):
    shell, run = tmp_path / "profile", host.runs / "shared"
    shell.write_text("mine")
    values = {
        "base": "//server/share/base.safetensors", "output": str(tmp_path / "new.safetensors"),
        "instance_images": [str(tmp_path)], "instance_prompt": "x; touch y",
    }  # fmt: skip
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(values))

    def resumed() -> str:
        key = {"X-DreamBooth-Key": page_key(host)}
        status, answer = host.ask("/dreambooth/runs/shared/resume", {}, key)
        assert status == 200
        return answer["error"]

    try:
        assert f"made elsewhere and names these paths: base '{values['base']}'" in resumed()
        assert values["output"] in resumed()
        base = sorted(host.data.glob("models/Stable-diffusion/*.safetensors"))[0]
        own = {"base": str(base), "output": str(host.data / "models/Lora/shared.safetensors")}
        photos = {"instance_images": [str(host.runs / "cache" / "photos")]}
        (run / "config.json").write_text(json.dumps(values | own | photos))
        for name in ("events.jsonl", "lock", "worker.log", "checkpoints"):
            (run / name).symlink_to(shell)
            assert f"{name} is a link" in resumed()
            (run / name).unlink()
        os.mkfifo(run / "worker.log")
        assert "worker.log is a" in resumed()
        assert shell.read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["profile"]
    finally:
        shutil.rmtree(host.runs)


def test_others_name_only_folders_that_the_host_hands_out(far_host, secret, photos):
    tab, key = Tab(far_host), page_key(far_host)
    listed, own = far_host.data.parent / "listed", far_host.data / "photos"
    for folder in (listed, own):
        shutil.copytree(photos, folder)
        status, answer = tab.click("look", key, folder=str(folder), **PROMPTS)
        assert status == 200 and "3 photos" in answer
    linked = far_host.data / "linked"
    shutil.copytree(photos, linked)
    (linked / "photo_0.txt").symlink_to(secret / "photo_0.txt")
    for folder in (secret, f"{own}/../../{secret.name}", "/", linked, "~"):
        for button in ("look", "train"):
            _, answer = tab.click(button, key, folder=str(folder), **PROMPTS)
            assert "--gradio-allowed-path" in answer and CAPTION not in answer, folder
    for name, label in (("class_images", "Class image folder"), ("vae", "VAE file")):
        for button in ("train", "make"):
            values = {"folder": str(own), name: str(secret / "photo_1.png"), **PROMPTS}
            _, answer = tab.click(button, key, **values)
            assert f"“{label}” " in answer and "--gradio-allowed-path" in answer, (name, button)
    assert not far_host.runs.exists()


def test_others_may_use_a_name_that_leads_to_the_host(far_host):
    assert far_host.ask("/dreambooth/state", headers={"Host": "my.site"})[0] == 200
    for headers in OTHER_SITES[3:]:
        assert far_host.ask("/dreambooth/state", headers=headers)[0] == 403


def test_hidden_fields_for_paths_are_hidden_and_refused(shut_host, photos):
    tab, key = Tab(shut_host), page_key(shut_host)
    inside = shutil.copytree(photos, shut_host.data / "photos", dirs_exist_ok=True)
    for name in ("folder", "class_images", "vae"):
        assert tab.field(name)["visible"] is False
        for button in ("look", "train", "make"):
            if name == "folder" and button == "make":
                continue  # which needs no photos
            status, answer = tab.click(button, key, **PROMPTS, **{name: str(inside)})
            assert status == 200 and "--hide-ui-dir-config" in answer, (name, button)
    assert not shut_host.runs.exists()
