"""What comes from a workflow, a file or the network is refused with one message, or harmless."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json
from tests.nodes.test_comfy import (
    CHECKPOINT,
    LAYER,
    PACK,
    SAMPLER,
    class_node,
    error_of,
    graph,
    loader_graph,
    lora_file,
    node,
    photo_node,
    train_node,
)
from tests.nodes.test_nodes import ConfigError, pack_module

fields = pack_module("nodes.fields")
grid = pack_module("trainer.photos.pictures")
history = pack_module("trainer.runs.history")
job = pack_module("nodes.job")
task = pack_module("nodes.task")
lora_fit = pack_module("nodes.lora_fit")
presets = pack_module("nodes.presets")
prompts = pack_module("nodes.prompts")
node_graph = pack_module("nodes.graph")

HTML = "<img src=x onerror=alert(1)>"
BAD_NAMES = [
    "", " ", ".", "..", "../x", "..\\x", "/etc/x", "C:\\x", "C:x", "\\\\server\\share",
    "//server/x",
    "a\0b", "a\nb", "a\x1b[2J", "a\x85b", "\u2028", "CON", "NUL.", "nul .x", "aux.txt", "COM1",
    "com¹",
    "CONIN$", "x.", ".x", "a" * 255, "é" * 120, "a" * 5000, HTML, "a|b", "a?b", "a*b",
    'a"b',
    "\u202egpj", "a\u200db", "\ud800", "cache", "Cache", "cache.safetensors",
]  # fmt: skip
HARMLESS_NAMES = [
    "--config",
    "-rf",
    "e\u0301",
    "．．／x",
    "%2e%2e%2fx",
    "$HOME",
    "~",
    "console",
    "{0}",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_output_names_that_some_system_cannot_keep_are_refused(name):
    with pytest.raises(ConfigError, match="output_name") as caught:
        job.output_path(Path("loras"), name.strip() and name)
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


@pytest.mark.parametrize("name", HARMLESS_NAMES, ids=ascii)
def test_output_names_mean_nothing_else_than_themselves(name):
    assert job.output_path(Path("loras"), name) == Path("loras") / f"{name}.safetensors"


ODD_VALUES = [None, [], {}, {"a": 1}, 5, 1.5, True, "x", float("nan")]


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
def test_an_unknown_choice_is_refused_with_a_list_of_the_valid_ones(value):
    with pytest.raises(ConfigError, match=r"preset is .* one of none, sd15-lora"):
        presets.with_preset({}, value, shown=False)
    with pytest.raises(ConfigError, match=r"if_stopped is .* one of resume, start over"):
        task.next_run(Path("nowhere"), "dog", [], value)


NO_NUMBERS = [
    float("nan"),
    float("inf"),
    -float("inf"),
    "NaN",
    "x",
    [],
    {},
    True,
    10**400,
    -1,
    1e308,
]


@pytest.mark.parametrize("name", ["learning_rate", "rank", "max_train_steps", "noise_offset"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
def test_invalid_numbers_are_refused_by_name(name, value):
    config = pack_module("trainer.config.config")
    groups = (config.TrainingConfig, config.TrainedConfig)
    group = next(g for g in groups if name in {spec.name for spec in config.settings_of(g)})
    with pytest.raises(ConfigError, match=f"^{name} is .*Give a"):
        config.read_group(group, job.setting_values({name: value}))


def lora(up: tuple[int, ...] = (8, 2), down: tuple[int, ...] = (2, 4), alpha=()) -> dict:
    names = (".lora_up.weight", ".lora_down.weight", ".alpha")
    return {f"layer{name}": shape for name, shape in zip(names, (up, down, alpha), strict=True)}


@pytest.mark.parametrize(
    "shapes",
    [
        lora(up=()),
        lora(down=(2,)),
        lora(up=(8, 3)),
        lora(alpha=(2,)),
        lora(alpha=(0,)),
        lora((), ()),
    ],
    ids=str,
)
def test_a_lora_with_inconsistent_shapes_is_refused(shapes):
    fit = lora_fit.compare(shapes, {"layer": (8, 4)})
    with pytest.raises(ConfigError, match="does not fit this model"):
        lora_fit.require_fit(fit, "a.safetensors", False)


METADATA = [
    "[]",
    "{",
    "null",
    "5",
    "[]",
    '{"a": 5}',
    "[" * 99999,
]


@pytest.mark.parametrize("text", METADATA, ids=lambda text: text[:20])
def test_a_lora_whose_metadata_are_not_ours_has_its_own_trigger_or_none(text):
    metadata = {"dreambooth_triggers": text}
    assert prompts.trigger_prompt(metadata) == ""
    assert prompts.trigger_prompt(metadata | {prompts.TRIGGER_KEY: "sks"}) == "sks"


@pytest.mark.parametrize("text", ["a\0b", "a\ud800", "a" * 9000], ids=["NUL", "half", "long"])
def test_prompts_that_are_no_text_are_refused(text):
    with pytest.raises(ConfigError, match="prompts"):
        prompts.filled_prompts(text, "")
    with pytest.raises(ConfigError, match="trigger"):
        prompts.filled_prompts("{subject}", text)


def test_braces_in_prompts_are_no_format():
    trigger = "a photo of {subject} {0.__class__} %s"
    (filled,) = prompts.filled_prompts("{subject} {x} {0}", trigger)
    assert filled == "{subject} {0.__class__} %s {x} {0}"


@pytest.mark.parametrize(
    "label", ["a" * 100_000, "a " * 50_000, "\u202e" + HTML, "\n\n", "日本" * 900]
)
def test_any_prompt_is_a_label(label):
    began = time.monotonic()
    sheet = grid.labelled_grid([grid.Row(label, [Image.new("RGB", (64, 64))])])
    assert sheet.height < 20_000 and time.monotonic() - began < 5


DAMAGED = [
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 99999,
    b'{"fingerprint": {}}',
    b"{" + b" " * 10**6,
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:20]))
def test_damaged_files_of_an_old_run_hinder_no_new_one(tmp_path, content):
    old = tmp_path / "old"
    old.mkdir()
    (old / "inputs.json").write_bytes(content)
    (old / "events.jsonl").write_bytes(content)
    assert history.runs_from(tmp_path, "k", [tmp_path]) == []
    assert history.lost_results(tmp_path, [tmp_path]) == []


@pytest.mark.parametrize(
    "result_path", ["\0", "a" * 9000, "..", 5, None, {}], ids=lambda v: repr(v)[:9]
)
def test_a_damaged_end_of_a_run_names_no_lora(tmp_path, result_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "inputs.json").write_text('{"fingerprint": "k"}')
    end = {
        "event": "finished", "time": 1.0, "step": 1, "result_path": result_path,
        "result_kind": "lora", "seconds": 1.0,
    }  # fmt: skip
    (tmp_path / "old" / "events.jsonl").write_text(json.dumps(end) + "\n")
    (found,) = history.runs_from(tmp_path, "k", [tmp_path])
    assert found.result is None


def test_a_node_created_by_a_loop_is_refused():
    with pytest.raises(ConfigError, match="created by a loop"):
        node_graph.straight_wires({"1": node("X")}, "1.0.2")


def test_the_page_takes_no_text_for_html_and_the_host_has_no_route_of_ours():
    for file in (PACK / "web").glob("*.js"):
        text = file.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
    for file in (PACK / "nodes").glob("*.py"):
        assert "routes" not in file.read_text("utf-8"), "a new route needs tests of its own here"
    assert "send_progress_text" not in (PACK / "nodes" / "page.py").read_text("utf-8")  # is HTML


REASON = comfy_host.skip_reason()
in_comfy = [pytest.mark.comfy, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


def comfy(test):
    """Marks a test that needs the real ComfyUI."""
    for mark in in_comfy:
        test = mark(test)
    return test


def outside(server: ComfyServer) -> set[Path]:
    """Everything but where ComfyUI and the nodes may write."""
    base = server.base_dir
    found = (path for path in base.parent.rglob("*") if "custom_nodes" not in path.parts)
    ours = [base / name for name in ("output", "temp", "user", "models/loras")]
    return {path for path in found if not any(path.is_relative_to(folder) for folder in ours)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[ComfyServer]:
    """ComfyUI with photos, links that leave the folder, and a name that is no text."""
    folder = tmp_path_factory.mktemp("routes") / "comfy"
    host = ComfyServer(PACK, folder, env={"DREAMBOOTH_PYTHON": sys.executable})
    save_checkpoint(folder / "models/checkpoints" / CHECKPOINT, "sd1", "host")
    secret = folder.parent / "secret"
    secret.mkdir()
    for photo in photos.iterdir():
        host.upload_image(photo, "dog")
        (secret / photo.name).write_bytes(photo.read_bytes())
    (folder / "input" / "link").symlink_to(secret)
    (folder / "input" / "loop").symlink_to("loop")
    raw = folder / "input" / os.fsdecode(b"raw\xff")
    raw.mkdir()
    (raw / "a.png").write_bytes((secret / "photo_0.png").read_bytes())
    many = folder / "input" / "many"
    many.mkdir()
    for index in range(1001):
        (many / f"{index}.png").touch()
    with host:
        before = outside(host)
        yield host
        assert outside(host) == before
        assert "Exception in thread" not in host.log_text()
        assert "Error handling request" not in host.log_text()


PHOTO_CASES = [
    *({"folder": "", "photos": name} for name in [
        "../secret/photo_0.png", "..\\secret\\photo_0.png", "/etc/passwd", "C:\\x.png", "C:x.png",
        "\\\\server\\share\\x.png", "//server/share/x.png", "\\\\?\\C:\\x.png", "link/photo_0.png",
        "../x [output]", "loop/a.png", "a\0b.png", "a" * 5000, "\ud800.png", "dog", "CON", HTML,
        ".",
    ]),
    *({"folder": "", "photos": {"__value__": value}} for value in [
        ["../secret/photo_0.png"], ["dog/photo_0.png", 5, 5], [None], {"a": 1}, 5,
        [["dog/photo_0.png"]], [], True,
    ]),
    *({"folder": name} for name in [
        "\\\\server\\share", "//server/share", "\\\\?\\C:\\x", "/\\server\\x", '"\\\\server\\x"',
        "~nobody/x",
        "a\0b", "a" * 5000, "a/" * 2000, "loop", "\ud800", "C:\\photos", "/proc/self/fd",
        "/dev/null",
        os.fsdecode(b"raw\xff"), HTML, "many",
    ]),
    {"instance_prompt": "\0"}, {"instance_prompt": "a" * 9000}, {"class_prompt": "\ud800"},
    {"background": "\u202e"}, {"caption_mode": {"a": 1}}, {"crop_mode": "x"}, {"resolution": 65},
    {"num_crops": "NaN"},
]  # fmt: skip


# Before anything runs; newer cores look at every list of choices themselves.
BY_THE_HOST = ("Bad linked", "Failed to", "Value not in list")


def refusal(server: ComfyServer, wanted: Json) -> str:
    """The message with which a graph is refused, before it runs or while it does."""
    answer = server._prompt(wanted)
    if "error" in answer:
        errors = [e for found in answer["node_errors"].values() for e in found["errors"]]
        assert errors and not any("exception" in error["type"] for error in errors), errors
        return errors[0]["message"] + errors[0]["details"]
    kind, details = server.wait(answer["prompt_id"])["status"]["messages"][-1]
    assert kind == "execution_error", details
    assert details["exception_type"].endswith("errors.ConfigError"), details
    return details["exception_message"]


@comfy
def test_photos_and_folders_that_cannot_be_meant_are_refused(server):
    for changes in PHOTO_CASES:
        shown = node("PreviewImage", images=["photos", 1])
        began = time.monotonic()
        message = refusal(server, graph(photos=photo_node(**changes), shown=shown))
        assert len(message) < 1000 and time.monotonic() - began < 10, changes
        assert message.count(". ") or message.startswith(BY_THE_HOST), message


@comfy
def test_no_name_reaches_a_file_outside_of_the_input_folder(server):
    for name in (
        "../secret/photo_0.png",
        "link/photo_0.png",
        str(server.base_dir.parent / "secret"),
    ):
        wanted = graph(
            photos=photo_node(folder="", photos=name),
            shown=node("PreviewImage", images=["photos", 1]),
        )
        assert "is outside" in error_of(server, wanted)


LORA_CASES = {
    "shapes": ({f"{LAYER}.lora_up.weight": (320, 3), f"{LAYER}.lora_down.weight": (2, 320)}, {}),
    "points": ({f"{LAYER}.lora_up.weight": (), f"{LAYER}.lora_down.weight": ()}, {}),
    "alpha": ({**{f"{LAYER}.lora_{p}.weight": (320, 320) for p in ("up", "down")},
    f"{LAYER}.alpha": (2,)}, {}),
    "half": ({f"{LAYER}.hada_w1_a": (2, 2)}, {}),
    "own": ({f"{LAYER}.lora_up.weight": (320, 2), "x": (1,)}, {"dreambooth_config": "["}),
}  # fmt: skip


@comfy
def test_damaged_loras_are_refused(server):
    for stem, (shapes, metadata) in LORA_CASES.items():
        weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
        save_file(weights, lora_file(server, stem), metadata)
        assert refusal(server, loader_graph(f"{stem}.safetensors"))
    whole = lora_file(server, "shapes").read_bytes()
    for content in (b"", b"<html>", whole[:40], whole[:-3], whole + b"x", b"\xff" * 99):
        lora_file(server, "bytes").write_bytes(content)
        assert (
            "Download it again" in refusal(server, loader_graph("bytes.safetensors"))
            or content[:1] == b"\xff"
        )
    (lora_file(server).parent / "pickle.pt").write_bytes(b"PK\x03\x04" + bytes(99))
    assert "pickle" in refusal(server, loader_graph("pickle.pt"))
    names = [
        "../../input/dog/photo_0.png",
        "..\\x",
        "/etc/passwd",
        "\\\\server\\x",
        "a\0b",
        "a" * 5000,
        "\ud800",
    ]
    for name in (*names, {"a": 1}, 5, None):
        message = refusal(server, loader_graph(name))
        assert "is not in models/loras" in message or message.startswith(BY_THE_HOST), message


@comfy
def test_a_lora_with_odd_metadata_loads_and_has_no_trigger(server):
    weights = {
        f"{LAYER}.lora_up.weight": torch.zeros(320, 2),
        f"{LAYER}.lora_down.weight": torch.zeros(2, 320),
    }
    for text in METADATA:
        metadata = {"dreambooth_config": text, "ss_tag_frequency": text, "ss_output_name": HTML}
        save_file(weights, lora_file(server, "odd"), metadata)
        assert server.run(loader_graph("odd.safetensors"))["outputs"]["trigger"]["text"] == [""]


def sample_node(**changes: object) -> Json:
    settings = {
        "prompts": "a dog", "negative_prompt": "", "num_images": 1, "width": 64, "height": 64,
        "seed": 1,
        "model": ["base", 0], "clip": ["base", 1], "vae": ["base", 2], **SAMPLER,
    }  # fmt: skip
    return node("DreamBoothSample", **settings | changes)


@comfy
def test_numbers_over_wires_and_unknown_samplers_are_refused(server):
    for name, value in [
        ("width", 10**9),
        ("width", 0),
        ("height", -64),
        ("num_images", 0),
        ("steps", 10**6),
        ("seed", -1),
    ]:
        wired = graph(
            number=node("PrimitiveInt", value=value), sample=sample_node(**{name: ["number", 0]})
        )
        assert f"{name} is {value}" in refusal(server, wired)
    for changes in ({"width": 65}, {"cfg": float("nan")}, {"sampler_name": "__class__"},
    {"scheduler": [1]},
                    {"sampler_name": {"a": 1}}, {"prompts": "a\n" * 300},
                    {"negative_prompt": "\0"}):  # fmt: skip
        assert refusal(server, graph(sample=sample_node(**changes))), changes
    for changes in (
        {"sampler_name": "x"},
        {"class_prompt": "\ud800"},
        {"negative_prompt": "\0"},
        {"cfg": float("nan")},
    ):
        assert refusal(
            server,
            graph(classes=class_node(**changes), shown=node("PreviewImage", images=["classes", 1])),
        )
    wired = loader_graph("odd.safetensors")
    wired["lora"]["inputs"]["strength_model"] = float("nan")
    assert "strength_model is nan" in refusal(server, wired)


@comfy
def test_train_refuses_before_it_writes(server):
    for changes in ({"preset": {"a": 1}}, {"preset": "x"}, {"if_stopped": "x"},
    {"learning_rate": float("nan")},
                    {"mixed_precision": ["x"]}, {"sample_prompts": "\0"},
                    {"output_name": "cache"}):  # fmt: skip
        assert refusal(server, graph(photos=photo_node(), train=train_node(**changes))), changes
    assert not list((server.base_dir / "output").glob("dreambooth/[!c]*"))


@comfy
def test_a_name_from_a_wire_is_checked_when_it_is_known(server):
    name = node("PrimitiveString", value="../x")
    wanted = graph(photos=photo_node(), name=name, train=train_node(output_name=["name", 0]))
    assert "output_name '../x' contains '/'" in error_of(server, wanted)


@comfy
def test_pages_of_other_origins_can_queue_nothing(server):
    """ComfyUI's own check; the nodes have no route of their own."""
    address = server.url.removeprefix("http://")
    for origin, status in (("http://evil.example", 403), (server.url, 400)):
        connection = HTTPConnection(address)
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        connection.request("POST", "/prompt", b"{}", headers)
        assert connection.getresponse().status == status
        connection.close()
