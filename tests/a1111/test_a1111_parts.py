"""The tab's own logic, without a host."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import CheckpointMaker
from tests.nodes.test_nodes import pack_module
from trainer.config.config import all_settings

PACK = Path(__file__).parents[2]
fields = pack_module("a1111.fields")
gate = pack_module("a1111.gate")
history = pack_module("a1111.history")
jobs = pack_module("a1111.jobs")
orders = pack_module("a1111.orders")
photos_module = pack_module("a1111.photos")
reach = pack_module("a1111.reach")
environment = pack_module("trainer.environment.environment")
events = pack_module("trainer.runs.events")
files = pack_module("trainer.files.atomic")
ConfigError = pack_module("trainer.errors").ConfigError
Run = pack_module("trainer.runs.run").Run
token_ids = pack_module("trainer.prompts.tokenizer").encode
past_run = pack_module("trainer.runs.history").past_run
HOSTILE = "<img src=x onerror=alert(1)>"
OWNER = reach.Reach(True, None)  # the page is for this machine's own user


def test_every_setting_is_a_field_of_the_tab_or_comes_from_the_host():
    names = {spec.name for _, spec in all_settings()}
    assert set(fields.SHOWN) | fields.NOT_SHOWN == names
    assert len(fields.SHOWN) == len(set(fields.SHOWN))
    assert not set(fields.SHOWN) & fields.NOT_SHOWN


def test_advanced_settings_are_under_advanced():
    advanced = {spec.name for _, spec in all_settings() if spec.advanced}
    assert not advanced & set(fields.BASIC)


def test_labels_are_unique_within_the_tab_or_under_a_heading():
    for names in (fields.BASIC, *fields.ADVANCED.values()):
        labels = [fields.label(name) for name in names]
        assert len(set(labels)) == len(labels)


def test_a_preset_fills_in_every_field_that_any_preset_knows():
    filled = dict(zip(fields.PRESET_FIELDS, fields.preset_fields("low-vram-8"), strict=True))
    assert (filled["base_precision"], filled["rank"]) == ("fp8", 8)
    assert filled["max_train_steps"] == fields.SETTINGS["max_train_steps"].default


def test_host_free_modules_import_nothing_of_the_host():
    own = {"fields", "gate", "history", "jobs", "orders", "page_data", "photos", "reach"}
    own |= {"fit", "kept", "refill", "report_page", "settings_file", "sheet"}
    for name in own:
        text = (PACK / "a1111" / f"{name}.py").read_text("utf-8")
        assert not re.search(r"^\s*(import|from) (modules|gradio|fastapi)\b", text, re.M), name


def test_the_script_is_short_and_javascript_has_one_global():
    assert len((PACK / "scripts/dreambooth_webui.py").read_text("utf-8").splitlines()) <= 40
    for file in (PACK / "javascript").glob("*.js"):
        text = file.read_text("utf-8")
        assert len(text.splitlines()) <= 150
        begin = "const dreamboothDom = " if file.stem == "dreambooth_dom" else ""
        whole = rf"(//.*\n)+{begin}\(\(\) => \{{\n(( .*)?\n)*\}}\)\(\);\n"
        assert re.fullmatch(whole, text), file.name
        assert "innerHTML" not in text


@pytest.fixture
def places(tmp_path: Path, tiny_checkpoint: CheckpointMaker):
    checkpoint = tiny_checkpoint("sd1")
    named = {"tiny": str(checkpoint)}
    return orders.Places(tmp_path / "runs", tmp_path / "loras", tmp_path / "models", named, OWNER)


def first_value(spec: Any) -> object:
    """What a setting's field holds initially."""
    if spec.default in (None, ()):
        return 0 if spec.type in (int, float) else ""
    return spec.default


def form(folder: object = "", uploads: tuple[Path, ...] = (), **changes: object):
    values = {
        name: first_value(spec)
        for name, spec in fields.SETTINGS.items()
        if name in fields.SHOWN and not spec.required
    }
    values |= {"instance_prompt": "a photo of sks dog", **changes}
    base, name = values.pop("base", "tiny"), values.pop("name", "dog")
    return orders.Form(uploads, str(folder), base, name, values)


def test_fields_become_the_job_of_the_worker(places, photos):
    job = orders.train_job(form(photos, sample_every=0, max_train_steps=7), places)
    config = job.order.config
    assert config["training"]["max_train_steps"] == 7
    assert config["samples"]["sample_every"] is None
    assert config["model"]["base"] == places.checkpoints["tiny"]
    assert config["result"]["output"] == str(places.loras / "dog.safetensors")
    assert (job.name, job.order.resume) == ("dog", False)


def test_a_run_name_that_exists_gets_a_number(places, photos):
    jobs = [orders.train_job(form(photos), places) for _ in range(2)]
    assert [job.name for job in jobs] == ["dog", "dog_2"]
    outputs = [Path(job.order.config["result"]["output"]).stem for job in jobs]
    assert outputs == ["dog", "dog_2"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "gone"}, "no checkpoint 'gone'"),
        ({"name": "../dog"}, "name '../dog'"),
        ({"folder": "/no/such/folder"}, "no folder"),
        ({"folder": "relative"}, "no folder"),
        ({"folder": ""}, "no photos"),
        ({"instance_prompt": " "}, "instance_prompt is empty"),
        ({"resolution": 65}, "resolution is 65"),
        ({"max_train_steps": None}, "max_train_steps is 'empty or not a number'"),
        ({"snr_gamma": None}, "snr_gamma is 'empty or not a number'"),
    ],
)
def test_bad_fields_are_named_and_nothing_is_left(places, photos, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        orders.train_job(form(**{"folder": photos, **changes}), places)
    assert not list(places.runs.glob("dog*"))


def test_without_checkpoints_the_error_says_where_to_put_one(places, photos):
    with pytest.raises(ConfigError, match="No checkpoint found. Put"):
        orders.train_job(form(photos), replace(places, checkpoints={}))


def test_a_checkpoint_of_another_kind_is_named(places, photos, tmp_path):
    header = json.dumps(
        {
            "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": {
                "dtype": "F16", "shape": [1], "data_offsets": [0, 2],
            }
        }
    ).encode()  # fmt: skip
    sd3 = tmp_path / "sd3.safetensors"
    sd3.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    other = replace(places, checkpoints={"tiny": str(sd3)})
    with pytest.raises(ConfigError, match="SD3"):
        orders.train_job(form(photos), other)


def test_uploads_are_kept_together_with_their_captions(places, photos, tmp_path):
    uploads = []
    for index, source in enumerate(sorted(photos.iterdir())[:2]):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "same.png").write_bytes(source.read_bytes())
        uploads.append(folder / "same.png")
    caption = tmp_path / "same.txt"
    caption.write_text("a photo of sks dog, red", "utf-8")
    config = orders.instance_config(form("", (*uploads, caption)), places)
    kept = Path(config.instance_images[0])
    assert sorted(path.name for path in kept.iterdir()) == [
        ".complete", "same.png", "same.txt", "same_2.png",
    ]  # fmt: skip
    assert orders.instance_config(form("", (*uploads, caption)), places) == config


def test_photos_that_were_removed_meanwhile_are_named(places, tmp_path):
    with pytest.raises(ConfigError, match="gone.png"):
        orders.train_job(form("", (tmp_path / "gone.png",)), places)
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(ConfigError, match="no photos"):
        orders.train_job(form(folder), places)


def test_photos_that_are_still_uploading_are_not_trained(places, tmp_path):
    empty = tmp_path / "photo.png"
    empty.touch()
    with pytest.raises(ConfigError, match="still uploading"):
        orders.train_job(form("", (empty, empty)), places)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("id_rsa", b"-----BEGIN OPENSSH PRIVATE KEY-----"), ("passwd.png", b"root:x:0:0:root"),
        ("empty.png", b""), ("photo.jpg", b"<html>"), ("sound.png", b"OggS" + bytes(40)),
        ("latin.txt", b"caf\xe9"), ("database.txt", b"SQLite format 3\0"),
        ("long.txt", b"a" * 9000),
    ],
)  # fmt: skip
def test_only_photos_and_captions_are_kept_and_errors_do_not_say_where(
    places, photos, tmp_path, name, content
):
    other = tmp_path / name
    other.write_bytes(content)
    uploads = (photos / "photo_0.png", other)
    with pytest.raises(ConfigError, match=re.escape(name)) as caught:
        orders.instance_config(form("", uploads), places)
    assert str(tmp_path) not in str(caught.value)
    assert not places.uploads.exists()


def test_captions_alone_are_no_photos(places, tmp_path):
    caption = tmp_path / "a.txt"
    caption.write_text("a photo of sks dog")
    with pytest.raises(ConfigError, match="only captions"):
        orders.instance_config(form("", (caption,)), places)


def test_the_preview_of_damaged_uploads_does_not_say_where_they_are(places, photos, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes((photos / "photo_0.png").read_bytes()[:200])
    uploads = (photos / "photo_1.png", damaged)
    with pytest.raises(ConfigError, match="damaged.png cannot be read") as caught:
        photos_module.look_at(orders.instance_config(form("", uploads), places))
    assert str(tmp_path) not in str(caught.value)
    skipping = form("", uploads, bad_images="skip")
    look = photos_module.look_at(orders.instance_config(skipping, places))
    assert "damaged.png cannot be read" in look.report
    assert str(tmp_path) not in look.report


def test_every_setting_that_is_a_path_is_checked():
    values = {spec.name: "/x" for spec in fields.SETTINGS.values() if spec.type in (str, tuple)}
    values |= {name: spec.choices[0] for name, spec in fields.SETTINGS.items() if spec.choices}
    values |= {"output": "/x.safetensors", "background": "#ffffff"}
    config = pack_module("trainer.config.config").Config.from_values(values)
    moved = config.flat_with_paths(lambda path: f"moved{path}")
    paths = {name for name, value in config.flat().items() if moved[name] != value}
    assert paths == set(fields.PATHS) | fields.NOT_SHOWN & {"base", "instance_images", "output"}


@pytest.mark.parametrize("name", ["folder", "vae", "class_images"])
@pytest.mark.parametrize(
    ("some", "message"),
    [
        (reach.Reach(False, None), "--hide-ui-dir-config"),
        (reach.Reach(False, (Path("/"),)), "--hide-ui-dir-config"),
        (reach.Reach(True, ()), "--gradio-allowed-path"),
        (reach.Reach(True, (Path("/nowhere"),)), "--gradio-allowed-path"),
    ],
    ids=str,
)
def test_a_path_that_the_host_does_not_hand_out_is_refused(places, photos, name, some, message):
    given = form(**{"folder": photos, "class_prompt": "a dog", name: str(photos)})
    with pytest.raises(ConfigError, match=f"{name} .*{message}"):
        orders.train_job(given, replace(places, reach=some))
    if name != "folder":
        with pytest.raises(ConfigError, match=f"{name} .*{message}"):
            orders.class_images_job(given, replace(places, reach=some))
    assert not places.runs.exists()


def test_folders_that_the_host_hands_out_may_be_named_and_fields_may_be_empty(places, photos):
    inside = replace(places, reach=reach.Reach(True, (Path("/nowhere"), photos.parent)))
    config = orders.instance_config(form(photos), inside)
    assert config.instance_images == (str(photos),)
    reach.Reach(False, None).check("vae", None)
    reach.Reach(False, None).check("vae", "")


def test_relative_paths_are_not_below_any_folder(places):
    with pytest.raises(ConfigError, match="outside"):
        reach.Reach(True, (Path.cwd(),)).check("vae", "tests")


def test_an_unreadable_number_affects_only_what_uses_it(places, photos):
    config = orders.instance_config(form(photos, max_train_steps=None), places)
    assert config.instance_images == (str(photos),)


def test_names_and_prompts_are_never_html(places, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(folder / f"{HOSTILE}.png")
    look = photos_module.look_at(
        orders.instance_config(form(folder, instance_prompt=HOSTILE), places)
    )
    assert "<img" not in look.report
    assert "&lt;img" in look.report


def test_the_preview_says_how_many_photos_have_captions_and_what_is_not_used(places, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 30)).save(folder / f"{name}.png")
    (folder / "A.CAPTION").write_text("sks dog")
    (folder / "c.nef").touch()
    look = photos_module.look_at(orders.instance_config(form(folder), places))
    assert "2 photos, 1 of 2 photos have captions;" in look.report
    assert "c.nef (camera raw)" in look.report


def test_the_prompt_of_a_lora_is_that_of_its_card(tmp_path):
    lora = tmp_path / "dog.safetensors"
    values = {"instance_prompt": "a sks (dog)"}
    assert history.trigger_prompt(lora, values) == r"a sks \(dog\)"
    for text, wanted in (
        ('{"activation text": "brown dog"}', "brown dog"),
        ("{", r"a sks \(dog\)"),
    ):
        lora.with_suffix(".json").write_text(text)
        assert history.trigger_prompt(lora, values) == wanted


@dataclass
class StandInHost:
    """Records what a job takes and returns."""

    log: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def device(self, job: object) -> Iterator[None]:
        self.log.append("taken")
        self.release.wait(60)
        yield
        self.log.append("returned")

    def refresh(self) -> None:
        self.log.append("refreshed")


def wait(job: Any) -> None:
    deadline = time.monotonic() + 300
    while job.last is None and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)


def test_however_often_stop_is_pressed_it_is_sent_once(places, photos):
    class Worker:
        sent = 0

        def send(self, request: object) -> None:
            self.sent += 1

        def kill(self) -> None:
            raise AssertionError

    job = orders.train_job(form(photos), places)
    job.worker = Worker()
    before = threading.active_count()
    for _ in range(100):
        job.stop()
    assert job.worker.sent == 1
    assert threading.active_count() <= before + 1


def test_two_windows_that_press_train_get_one_training(places, photos):
    registry, host, both = jobs.Jobs(), StandInHost(), threading.Barrier(2)

    def press_train() -> None:
        both.wait(60)
        registry.start(lambda: orders.train_job(form(photos), places), host)

    with ThreadPoolExecutor(2) as windows:
        pressed = [windows.submit(press_train) for _ in range(2)]
    (refused,) = filter(None, (window.exception() for window in pressed))
    assert re.search("dog.* is already running", str(refused))
    assert [run.name for run in places.runs.glob("dog*")] == ["dog"]
    job = registry.running
    job.stop()
    host.release.set()
    wait(job)
    assert job.last.name == "stopped"
    assert registry.running is None
    assert not (places.runs / "dog").exists()


def test_a_training_reports_everything_and_leaves_a_lora(places, photos):
    host = StandInHost()
    host.release.set()
    job = orders.train_job(
        form(photos, max_train_steps=3, resolution=64, rank=2, sample_every=2,
             sample_inference_steps=1, mixed_precision="no"), places,
    )  # fmt: skip
    registry = jobs.Jobs()
    registry.start(lambda: job, host)
    wait(job)
    view = json.loads(json.dumps(job.view()))
    assert view["end"]["state"] == "finished", view["end"]
    assert [step for step, _ in view["losses"]] == [1, 2, 3]
    (row,) = view["sheet"]
    assert [cell["label"] for cell in row["cells"]] == ["step 0", "step 2", "step 3"]
    assert host.log == ["taken", "returned", "refreshed"]
    (shown,) = history.run_views(places.runs, None, [places.loras], {})
    assert shown["prompt"] == "a photo of sks dog <lora:dog:1>"
    assert shown["sheet"] == view["sheet"] and shown["loss"] and shown["report"]
    assert row["prompt"] == "a photo of sks dog"
    lora = past_run(history.find_run(places.runs, "dog"), [places.loras]).result
    assert lora == places.loras / "dog.safetensors"
    compare = orders.compare_job(Run(places.runs / "dog"), lora, places)
    registry.start(lambda: compare, host)
    wait(compare)
    assert compare.last.name == "finished", compare.last
    found = history.pictures(Run(places.runs / "dog"))
    assert len(found["before"]) == len(found["after"]) == 3
    pair = [next(iter(found[kind].values())).read_bytes() for kind in ("before", "after")]
    assert pair[0] != pair[1]
    (shown,) = history.run_views(places.runs, None, [places.loras], {})
    assert [cell["label"] for cell in shown["sheet"][0]["cells"]] == ["step 0", "step 2", "step 3"]
    assert compare.view()["sheet"] == shown["sheet"][1:]


def test_class_images_generated_in_advance_are_reused_by_the_training(places, photos):
    host = StandInHost()
    host.release.set()
    small = {
        "class_prompt": "a photo of a dog", "num_class_images": 2, "class_inference_steps": 1,
        "resolution": 64, "mixed_precision": "no", "max_train_steps": 1, "sample_every": 0,
        "sample_inference_steps": 1, "rank": 2,
    }  # fmt: skip
    job = orders.class_images_job(form("", **small), places)
    jobs.Jobs().start(lambda: job, host)
    wait(job)
    assert job.last.name == "finished", job.last
    made = {path: path.stat().st_mtime_ns for path in places.runs.rglob("000*.png")}
    assert len(made) == 2
    training = orders.train_job(form(photos, **small), places)
    jobs.Jobs().start(lambda: training, host)
    wait(training)
    assert training.last.name == "finished", training.last
    assert {path: path.stat().st_mtime_ns for path in places.runs.rglob("000*.png")} == made


def test_words_are_proposed_and_those_of_the_instance_prompt_rated(places):
    host = StandInHost()
    host.release.set()
    words = {"instance_prompt": "a photo of Fluffy dog", "class_prompt": "a photo of a dog"}
    job = orders.identifiers_job(form("", mixed_precision="no", **words), places)
    assert (job.order.class_noun, job.order.words) == ("dog", ["fluffy"])
    jobs.Jobs().start(lambda: job, host)
    wait(job)
    view = json.loads(json.dumps(job.view()))
    assert view["end"]["state"] == "finished", view
    assert len(view["ratings"]) == 1 + orders.PROPOSED
    assert view["ratings"][0].startswith("fluffy: ")
    assert "weak prior are good" in view["end"]["text"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"class_prompt": ""}, "class_prompt is empty"), ({"base": "gone"}, "no checkpoint 'gone'"),
     ({"class_prompt": 5}, "class_prompt is 5")],
)  # fmt: skip
def test_words_cannot_be_rated_without_a_class_or_base(places, changes, message):
    with pytest.raises(ConfigError, match=message):
        orders.identifiers_job(form("", **{"class_prompt": "a dog"} | changes), places)
    assert not places.runs.exists()


def test_a_host_that_fails_ends_the_job_with_a_message(places, photos):
    class BrokenHost(StandInHost):
        @contextmanager
        def device(self, job: object) -> Iterator[None]:
            raise RuntimeError("no lock")
            yield

    job = orders.train_job(form(photos), places)
    jobs.Jobs().start(lambda: job, BrokenHost())
    wait(job)
    assert "no lock" in job.view()["end"]["text"]


def test_without_network_the_first_training_says_what_is_missing(
    places, photos, tmp_path, monkeypatch
):
    monkeypatch.delenv("DREAMBOOTH_PYTHON")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    own = {
        "ENVIRONMENT": ".venv", "MARKER": ".venv/dreambooth.json", "LOCK": "lock", "LOG": "log",
    }  # fmt: skip
    for name, path in own.items():
        monkeypatch.setattr(environment, name, tmp_path / path)
    host = StandInHost()
    job = orders.train_job(form(photos), places)
    jobs.Jobs().start(lambda: job, host)
    wait(job)
    view = job.view()
    assert "Installing the trainer's environment" in view["text"]
    assert "Check the network connection" in view["end"]["text"]
    assert host.log == []
    assert not (places.runs / "dog").exists()


def test_long_losses_are_thinned():
    points = [(step, float(step)) for step in range(1, 1001)]
    thin = jobs.thinned(points)
    assert len(thin) <= jobs.MAX_POINTS
    assert thin[-1][0] == 1000
    assert jobs.thinned([]) == []


def test_the_hosts_prompt_syntax_is_escaped():
    lora = Path("my_dog.safetensors")
    prompt = history.trigger_prompt(lora, {"instance_prompt": "a (sks) dog [x]"})
    assert history.lora_prompt(lora, prompt) == r"a \(sks\) dog \[x\] <lora:my_dog:1>"


HOST_TAG = re.compile(r"<(\w+):([^>]+)>")  # as both hosts find a network to load


@pytest.mark.parametrize(
    "prompt",
    [
        "a dog <lora:evil:1>", "<<lora:evil:1>>", "<lora:<hypernet:evil:1>", "<lora:a(b)[c]\\:1>",
        "<lyco:evil:1> < lora:x:1> <lora :x>", "<lora:evil\n:1>",
    ],
)  # fmt: skip
def test_only_the_tag_of_the_runs_own_lora_reaches_the_hosts_prompt(prompt):
    made = history.lora_prompt(Path("my_dog.safetensors"), prompt)
    assert HOST_TAG.findall(made) == [("lora", "my_dog:1")]
    back = made.removesuffix(" <lora:my_dog:1>").replace("\\", "")
    assert token_ids(back) == token_ids(prompt.replace("\\", ""))


@pytest.mark.parametrize("stem", ["x:1><lora:evil", "a>b", "a:1"])
def test_a_lora_whose_name_is_syntax_is_not_offered(tmp_path, stem):
    made = tmp_path / f"{stem}.safetensors"
    made.touch()
    run = Run(tmp_path / "dog")
    run.create('{"instance_prompt": "sks"}')
    finished = events.Finished(4, str(made), "lora", 1.0)
    files.append_lines(run.events, events.to_line(finished) + "\n")
    (shown,) = history.run_views(tmp_path, None, [tmp_path], {})
    assert shown["prompt"] == ""


@pytest.mark.parametrize("name", ["..", "../dog", "cache", "dog/../dog", "", "/etc"])
def test_runs_are_found_by_the_names_of_the_list_alone(tmp_path, name):
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "config.json").write_text("{}", "utf-8")
    assert history.find_run(tmp_path, "dog").folder == tmp_path / "dog"
    with pytest.raises(ConfigError):
        history.find_run(tmp_path, name)


def test_an_interrupted_run_can_be_resumed(tmp_path):
    run = Run(tmp_path / "dog")
    run.create('{"max_train_steps": 9, "base": "a/b.safetensors", "instance_prompt": "sks"}')
    (shown,) = history.run_views(tmp_path, None, [tmp_path], {})
    assert (shown["state"], shown["resumable"], shown["base"]) == ("unfinished", True, "b")
    files.append_lines(run.events, events.to_line(events.Stopped(4, "", "", resumable=True)) + "\n")
    (shown,) = history.run_views(tmp_path, None, [tmp_path], {})
    assert (shown["state"], shown["resumable"]) == ("stopped", True)
    (shown,) = history.run_views(tmp_path, "dog", [tmp_path], {})
    assert (shown["state"], shown["resumable"]) == ("running", False)


def test_a_run_whose_files_were_touched_keeps_its_place_in_the_list(tmp_path):
    for name in ("zebra", "dog"):
        Run(tmp_path / name).create("{}")
    for path in (tmp_path / "zebra" / "config.json", tmp_path / "zebra"):
        os.utime(path, (4_000_000_000, 4_000_000_000))
    assert [shown["name"] for shown in history.run_views(tmp_path, None, [tmp_path], {})] == [
        "dog",
        "zebra",
    ]


@pytest.mark.parametrize(
    ("kind", "prompt", "checkpoint"),
    [
        ("lora", "sks < hypernet:a:1> <lora:dog:1>", ""),
        ("checkpoint", "sks < hypernet:a:1>", "more/dog.safetensors"),
        ("embedding", "", ""),
    ],
)
def test_a_result_is_offered_as_what_it_is(tmp_path, kind, prompt, checkpoint):
    made = tmp_path / "dog.safetensors"
    made.touch()
    made.with_suffix(".json").write_text('{"activation text": "sks <hypernet:a:1>"}', "utf-8")
    run = Run(tmp_path / "dog")
    run.create('{"instance_prompt": "sks"}')
    finished = events.Finished(4, str(made), kind, 1.0)
    files.append_lines(run.events, events.to_line(finished) + "\n")
    (shown,) = history.run_views(tmp_path, None, [tmp_path], {"more/dog.safetensors": str(made)})
    assert (shown["prompt"], shown["checkpoint"]) == (prompt, checkpoint)
    assert shown["comparable"] == bool(prompt)
    made.unlink()
    (shown,) = history.run_views(tmp_path, None, [tmp_path], {"more/dog.safetensors": str(made)})
    assert not (shown["prompt"] or shown["checkpoint"] or shown["comparable"])


def test_a_full_fine_tune_becomes_a_checkpoint_that_is_used_and_compared(places, photos):
    host = StandInHost()
    host.release.set()
    job = orders.train_job(
        form(photos, method="full", max_train_steps=2, resolution=64, learning_rate=1e-3,
             sample_every=0, sample_inference_steps=1, mixed_precision="no"), places,
    )  # fmt: skip
    registry = jobs.Jobs()
    registry.start(lambda: job, host)
    wait(job)
    assert job.last.name == "finished", job.last
    made = places.models / "dog.safetensors"
    assert not places.loras.exists()
    (shown,) = history.run_views(places.runs, None, [places.models], {"dog.safetensors": str(made)})
    assert (shown["prompt"], shown["checkpoint"]) == ("a photo of sks dog", "dog.safetensors")
    compare = orders.compare_job(Run(places.runs / "dog"), made, places)
    registry.start(lambda: compare, host)
    wait(compare)
    assert compare.last.name == "finished", compare.last
    found = history.pictures(Run(places.runs / "dog"))
    pair = [next(iter(found[kind].values())).read_bytes() for kind in ("before", "after")]
    assert pair[0] != pair[1]


@dataclass
class Asked:
    """A request."""

    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    query_params: dict[str, str] = field(default_factory=dict)


def basic(account: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(account.encode()).decode()}"}


@pytest.mark.parametrize("cookie", ["access-token", "access-token-unsecure-x1"])
def test_with_a_page_login_only_its_sessions_are_admitted(cookie):
    locked = gate.Gate(True, {"session": "me"}, ("api:pass",), "key")
    assert locked.admits(Asked(cookies={cookie: "session"}))
    for other in (
        Asked(), Asked(cookies={cookie: "guess"}), Asked(cookies={"other": "session"}),
        Asked(headers=basic("api:pass")), Asked(headers={"x-dreambooth-key": "key"}),
    ):  # fmt: skip
        assert not locked.admits(other)


def test_with_an_api_login_its_accounts_and_the_page_are_admitted():
    locked = gate.Gate(False, {}, ("me:pass", "you:word"), "key")
    assert locked.admits(Asked(headers=basic("you:word")))
    assert locked.admits(Asked(headers={"x-dreambooth-key": "key"}))
    assert locked.admits(Asked(query_params={"key": "key"}))
    for other in (
        Asked(), Asked(headers=basic("me:word")), Asked(headers={"authorization": "Basic %%"}),
        Asked(headers={"authorization": "Basic"}), Asked(query_params={"key": ""}),
    ):  # fmt: skip
        assert not locked.admits(other)


def test_without_logins_all_may_read_and_only_the_page_may_act():
    open_gate = gate.Gate(False, {}, (), "key")
    assert open_gate.admits(Asked())
    assert not open_gate.from_page(Asked())
    assert open_gate.from_page(Asked(headers={"x-dreambooth-key": "key"}))


ALONE, FAR = gate.Site(any_name=False), gate.Site(any_name=True)
OWNERS = gate.Site(False, ("https://my.site", "http://mine:81"), r"https://.*\.lan")


@pytest.mark.parametrize(
    ("site", "headers", "own"),
    [
        (ALONE, {"host": "127.0.0.1:7860"}, True),
        (ALONE, {"host": "localhost"}, True),
        (ALONE, {"host": "LOCALHOST:7860"}, True),
        (ALONE, {"host": "web.localhost:80"}, True),
        (ALONE, {"host": "[::1]:7860"}, True),
        (ALONE, {"host": "evil.example:7860"}, False),
        (ALONE, {"host": "127.0.0.1.evil.example"}, False),
        (ALONE, {"host": "notlocalhost"}, False),
        (ALONE, {"host": "[::1"}, False),
        (ALONE, {}, False),
        (FAR, {"host": "my.site"}, True),
        (FAR, {"host": "my.site", "origin": "https://my.site"}, True),
        (FAR, {"host": "my.site", "origin": "https://evil.example"}, False),
        (FAR, {"host": "my.site", "origin": "null"}, False),
        (FAR, {"host": "my.site", "sec-fetch-site": "cross-site"}, False),
        (FAR, {"host": "my.site", "sec-fetch-site": "same-site"}, False),
        (FAR, {"host": "127.0.0.1", "origin": "https://my.site"}, False),
        (FAR, {"host": "127.0.0.1", "origin": "https://my.site", "sec-fetch-site": "same-origin"},
         True),
        (FAR, {"host": "127.0.0.1", "origin": "https://my.site", "x-forwarded-host": "my.site"},
         True),
        (OWNERS, {"host": "my.site", "origin": "https://my.site"}, True),
        (OWNERS, {"host": "mine:81"}, True),
        (OWNERS, {"host": "a.lan"}, True),
        (OWNERS, {"host": "a.lan.evil.example"}, False),
        (OWNERS, {"host": "127.0.0.1", "origin": "https://my.site", "sec-fetch-site": "cross-site"},
         True),
        (OWNERS, {"host": "mine:82"}, False),
        (gate.Site(False, ("*",)), {"host": "evil.example"}, True),
    ],
    ids=str,
)  # fmt: skip
def test_requests_of_other_sites_are_told_from_the_hosts_own(site, headers, own):
    assert site.is_own(Asked(headers=headers)) == own
