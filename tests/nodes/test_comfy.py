"""The nodes in a real ComfyUI: photos become a LoRA, and the LoRA becomes pictures."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmarks.random_checkpoint import save_checkpoint
from tests.helpers import comfy_host
from tests.helpers.comfy_host import ComfyServer, Json

REASON = comfy_host.skip_reason()
pytestmark = [pytest.mark.comfy, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

PACK = Path(__file__).parents[2]
CHECKPOINT = "sd15.safetensors"
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
LAYER_KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
SAMPLER = {"steps": 1, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal"}
BASE = {"model": ["base", 0], "clip": ["base", 1], "vae": ["base", 2]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[ComfyServer]:
    """ComfyUI with the pack, a small random SD 1.5 checkpoint and three photos."""
    folder = tmp_path_factory.mktemp("comfy")
    host = ComfyServer(PACK, folder, env={"DREAMBOOTH_PYTHON": sys.executable})
    save_checkpoint(folder / "models/checkpoints" / CHECKPOINT, "sd1", "host")
    with host:
        for photo in photos.iterdir():
            host.upload_image(photo, "dog")
        yield host


def node(class_type: str, **inputs: object) -> Json:
    return {"class_type": class_type, "inputs": inputs}


def photo_node(**changes: object) -> Json:
    settings = {
        "photos": "", "folder": "dog", "instance_prompt": "a photo of sks dog",
        "class_prompt": "", "resolution": 64, "crop_mode": "center", "bad_images": "refuse",
    }  # fmt: skip
    return node("DreamBoothLoadInstanceImages", **settings | changes)


def class_node(**changes: object) -> Json:
    settings = {
        "class_prompt": "a photo of a dog", "negative_prompt": "", "num_class_images": 2,
        "resolution": 64, "seed": 0,
    }  # fmt: skip
    return node("DreamBoothGenerateClassImages", **BASE | SAMPLER | settings | changes)


def train_node(**changes: object) -> Json:
    settings = {
        "instance_set": ["photos", 0], "preset": "none", "output_name": "dog",
        "if_stopped": "resume", "max_train_steps": 3, "learning_rate": 1e-3, "rank": 4, "seed": 0,
        "train_batch_size": 1, "mixed_precision": "no", "train_text_encoder": False,
        "num_class_images": 2, "prior_loss_weight": 1.0, "sample_every": 0,
        "sample_inference_steps": 1,
    }  # fmt: skip
    return node("DreamBoothTrain", **BASE | settings | changes)


def graph(**nodes: Json) -> Json:
    return {"base": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT), **nodes}


def whole_graph() -> Json:
    """Photos and class images to a LoRA to pictures."""
    return graph(
        photos=photo_node(),
        classes=class_node(),
        train=train_node(class_set=["classes", 0]),
        lora=node(
            "DreamBoothLoRALoader", model=["base", 0], clip=["base", 1], result=["train", 0],
            lora_name="", strength_model=1.0, strength_clip=1.0,
        ),
        sample=node(
            "DreamBoothSample", model=["lora", 0], clip=["lora", 1], vae=["base", 2],
            trigger=["lora", 2], prompts="{subject} on a beach\na cat", negative_prompt="",
            num_images=2, width=64, height=64, seed=1, **SAMPLER,
        ),
        crops=node("PreviewImage", images=["photos", 1]),
        pictures=node("PreviewImage", images=["sample", 0]),
        trigger=node("PreviewAny", source=["train", 3]),
        folder=node("PreviewAny", source=["train", 2]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(server: ComfyServer) -> Json:
    """What the page was shown of the whole graph, by node."""
    return server.run(whole_graph())["outputs"]


def picture(server: ComfyServer, image: Json) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(server.view(**image))).convert("RGB"), dtype=int)


def lora_file(server: ComfyServer, name: str = "dog") -> Path:
    return server.base_dir / "models" / "loras" / f"{name}.safetensors"


def error_of(server: ComfyServer, wanted: Json) -> str:
    """The one message with which a graph fails while it runs."""
    status = server.wait(server.queue(wanted))["status"]
    kind, details = status["messages"][-1]
    assert (status["status_str"], kind) == ("error", "execution_error")
    return details["exception_message"]


def forget(server: ComfyServer) -> None:
    """Let ComfyUI drop its cached results, as a restart does.

    Its worker does that some time after the request; until then it has a small graph in its cache.
    """
    small = {"kept": node("PreviewAny", source="kept")}
    server.run(small)
    server.post("/free", {"unload_models": True, "free_memory": True})
    deadline = time.monotonic() + 60
    while is_cached(server, small):
        assert time.monotonic() < deadline, server.log_text()[-2000:]


def is_cached(server: ComfyServer, wanted: Json) -> bool:
    """Whether ComfyUI runs a graph without running any of its nodes."""
    messages = dict(server.run(wanted)["status"]["messages"])
    return set(messages["execution_cached"]["nodes"]) == wanted.keys()


def notes(server: ComfyServer) -> list[Json]:
    return [event["data"] for event in server.events("dreambooth.note")]


def progress_texts(server: ComfyServer) -> list[str]:
    return [status["text"] for status in statuses(server) if "text" in status]


def statuses(server: ComfyServer) -> list[Json]:
    return [event["data"] for event in server.events("dreambooth.status")]


def run_folders(server: ComfyServer) -> set[str]:
    runs = server.base_dir / "output" / "dreambooth"
    return {path.name for path in runs.iterdir()} - {"cache"}


def run_events(server: ComfyServer, name: str) -> list[Json]:
    file = server.base_dir / "output" / "dreambooth" / name / "events.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_photos_become_a_lora_and_the_lora_pictures(server, trained):
    assert lora_file(server).is_file()
    assert trained["train"]["report"] == ["Saved the LoRA: dog.safetensors"]
    assert trained["trigger"]["text"] == ["a photo of sks dog"]
    assert Path(trained["folder"]["text"][0]).name == "dog"
    assert len(trained["pictures"]["images"]) == 4
    first, again, *_ = (picture(server, image) for image in trained["pictures"]["images"])
    assert first.shape == (64, 64, 3)
    assert np.abs(first - again).max() > 0


def test_the_nodes_show_what_they_made(server, trained):
    assert len(trained["photos"]["images"]) == len(trained["crops"]["images"]) == 3
    assert trained["photos"]["report"][0].startswith("3 photos\n0 of 3 photos have captions.")
    assert trained["classes"]["report"] == ["2 class images: 0 reused, 2 new"]
    assert [image["filename"] for image in trained["train"]["images"]][-1] == "loss.png"
    (sheet,) = trained["sample"]["images"]
    assert picture(server, sheet).shape[0] > 2 * 64


def test_progress_previews_and_the_class_images_reach_page_and_worker(server, trained):
    train_steps = [e["data"] for e in server.events("progress") if e["data"]["node"] == "train"]
    assert (3, 3) in [(data["value"], data["max"]) for data in train_steps]
    assert any("Step 3/3, loss" in text for text in progress_texts(server))
    pictures = [s["picture"] for s in statuses(server) if s["node"] == "train" and "picture" in s]
    assert server.view(**pictures[-1]).startswith(b"\x89PNG")
    started = next(e for e in run_events(server, "dog") if e["event"] == "started")
    assert (started["num_instance_images"], started["num_class_images"]) == (3, 2)


def test_the_same_inputs_use_the_finished_lora_again(server, trained):
    before = run_folders(server)
    forget(server)
    entry = server.run(whole_graph())
    report = "Inputs unchanged, reusing the finished LoRA: dog.safetensors"
    assert entry["outputs"]["train"]["report"] == [report]
    assert run_folders(server) == before
    assert not lora_file(server, "dog_2").exists()


def test_the_stock_loader_lists_and_loads_the_lora_completely(server, trained):
    options = server.object_info()["LoraLoader"]["input"]["required"]["lora_name"][0]
    assert "dog.safetensors" in options
    images = [stock_picture(server, strength) for strength in (0.0, 1.0)]
    assert np.abs(images[0] - images[1]).max() > 0
    assert "lora key not loaded" not in server.log_text()
    assert "NOT LOADED" not in server.log_text()


def stock_picture(server: ComfyServer, strength: float) -> np.ndarray:
    shown = server.run(
        graph(
            lora=node(
                "LoraLoader", model=["base", 0], clip=["base", 1], lora_name="dog.safetensors",
                strength_model=strength, strength_clip=strength,
            ),
            text=node("CLIPTextEncode", clip=["lora", 1], text="a photo of sks dog"),
            empty=node("EmptyLatentImage", width=64, height=64, batch_size=1),
            drawn=node(
                "KSampler", model=["lora", 0], positive=["text", 0], negative=["text", 0],
                latent_image=["empty", 0], seed=1, denoise=1.0, **SAMPLER,
            ),
            image=node("VAEDecode", samples=["drawn", 0], vae=["base", 2]),
            shown=node("PreviewImage", images=["image", 0]),
        )
    )["outputs"]["shown"]["images"]  # fmt: skip
    return picture(server, shown[0])


def loader_graph(name: str) -> Json:
    return graph(
        lora=node(
            "DreamBoothLoRALoader", model=["base", 0], clip=["base", 1], lora_name=name,
            strength_model=1.0, strength_clip=1.0,
        ),
        trigger=node("PreviewAny", source=["lora", 2]),
    )  # fmt: skip


def test_our_loader_takes_the_trigger_from_the_file(server, trained):
    assert server.run(loader_graph("dog.safetensors"))["outputs"]["trigger"]["text"] == [
        "a photo of sks dog"
    ]


def test_our_loader_refuses_a_lora_for_another_base(server):
    wide = {f"{LAYER}.lora_{part}.weight": torch.zeros(999, 999) for part in ("up", "down")}
    save_file(wide, lora_file(server, "wide"))
    assert "wide.safetensors does not fit this model" in error_of(
        server, loader_graph("wide.safetensors")
    )
    assert "is not in models/loras" in error_of(server, loader_graph(""))


def test_cancel_saves_and_the_next_run_resumes(server):
    wanted = graph(
        photos=photo_node(), train=train_node(output_name="cancelled", max_train_steps=30)
    )
    status, step = cancel(server, wanted)
    assert status["messages"][-1][0] == "execution_interrupted"
    saved = lora_file(server, f"cancelled-step{step:08d}")
    assert load_file(saved)
    assert progress_texts(server)[-1] == (
        f"Stopped at step {step}. LoRA so far: {saved.name}. Run again to resume."
    )
    wanted["train"]["inputs"]["sample_every"] = 7  # changes nothing about the LoRA
    _, second = cancel(server, wanted)
    started = [e for e in run_events(server, "cancelled") if e["event"] == "started"]
    assert [event["start_step"] for event in started] == [0, step]
    assert second > step
    assert "cancelled_2" not in run_folders(server)


def cancel(server: ComfyServer, wanted: Json) -> tuple[Json, int]:
    """Cancel during training; return how the run ended, and its last step."""
    seen = sum(is_step(text) for text in progress_texts(server))
    prompt = server.queue(wanted)
    deadline = time.monotonic() + 200
    while sum(is_step(text) for text in progress_texts(server)) == seen:
        assert time.monotonic() < deadline, server.log_text()[-2000:]
        time.sleep(0.05)
    server.interrupt()
    status = server.wait(prompt)["status"]
    last = run_events(server, "cancelled")[-1]
    assert last["event"] == "stopped"
    return status, last["step"]


def is_step(text: str) -> bool:
    return re.search(r"Step \d+/30", text) is not None


def test_class_images_are_topped_up_and_each_has_its_own_seed(server):
    shown = {"shown": node("PreviewImage", images=["classes", 1])}
    made = class_node(class_prompt="a cat")
    first = server.run(graph(classes=made, **shown))["outputs"]["classes"]
    folder = server.base_dir / "output" / first["images"][0]["subfolder"]
    old = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*.png")}
    made["inputs"]["num_class_images"] = 3
    second = server.run(graph(classes=made, **shown))["outputs"]["classes"]
    assert second["report"] == ["3 class images: 2 reused, 1 new"]
    assert all(path.stat().st_mtime_ns == old[path][0] for path in old)
    (folder / "000001.png").unlink()
    forget(server)
    server.run(graph(classes=made, **shown))
    assert (folder / "000001.png").read_bytes() == old[folder / "000001.png"][1]
    made["inputs"]["cfg"] = 3.0
    third = server.run(graph(classes=made, **shown))["outputs"]["classes"]
    assert third["report"][0].endswith("An older set for this prompt differs in cfg.")


def patched_graph(**train: object) -> Json:
    """The trained LoRA lies on the MODEL wire before the training."""
    return graph(
        photos=photo_node(),
        classes=class_node(),
        other=node(
            "LoraLoaderModelOnly", model=["base", 0], lora_name="dog.safetensors",
            strength_model=0.5,
        ),
        train=train_node(model=["other", 0], output_name="patched", max_train_steps=1, **train),
    )  # fmt: skip


def test_class_images_of_another_model_are_refused(server, trained):
    message = error_of(server, patched_graph(class_set=["classes", 0]))
    assert message.startswith("The class images were generated with a different model")
    assert "patched" not in run_folders(server)


def test_a_lora_on_the_wire_is_part_of_what_is_trained(server, trained):
    server.run(patched_graph())
    (exported,) = (server.base_dir / "output/dreambooth/cache/bases").iterdir()
    lora = load_file(lora_file(server))
    up, down = (lora[f"{LAYER}.lora_{part}.weight"].float() for part in ("up", "down"))
    delta = 0.5 * lora[f"{LAYER}.alpha"].item() / len(down) * (up @ down)
    before = load_file(server.base_dir / "models/checkpoints" / CHECKPOINT)[LAYER_KEY].float()
    assert delta.abs().max() > 0
    torch.testing.assert_close(load_file(exported)[LAYER_KEY].float(), before + delta)
    assert lora_file(server, "patched").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_prompt": "A photo of sks dog"}, "are both 'A photo of sks dog'"),
        ({"folder": "nowhere"}, r"There is no folder .*nowhere"),
        ({"folder": "", "photos": "../../secret.png"}, "is outside"),
        ({"folder": "", "photos": "gone.png"}, r"gone\.png' is not in"),
        ({"folder": "broken"}, r"text\.jpg is not an image"),
        ({"instance_prompt": " "}, "instance_prompt is empty"),
        ({"resolution": 500}, r"resolution is 500\. .* multiple of 64"),
        ({"background": "nocolour"}, "background is 'nocolour'"),
    ],
)
def test_invalid_photo_inputs_are_refused_with_a_clear_message(server, changes, message):
    broken = server.base_dir / "input" / "broken"
    broken.mkdir(exist_ok=True)
    (broken / "text.jpg").write_text("no picture")
    wanted = graph(photos=photo_node(**changes), shown=node("PreviewImage", images=["photos", 1]))
    assert re.search(message, error_of(server, wanted))


def test_a_node_without_photos_is_refused_before_class_images_are_begun(server):
    train = train_node(class_set=["classes", 0])
    wanted = graph(photos=photo_node(folder=""), classes=class_node(), train=train)
    errors = server.validate_errors(wanted)["node_errors"]["photos"]["errors"]
    assert all("There are no photos. Add some" in error["details"] for error in errors)
    assert "error" in server.validate_errors(wanted)  # nothing of it is run


@pytest.mark.parametrize("name", ["../x", "CON", ""])
def test_a_bad_output_name_is_refused_before_anything_runs(server, name):
    wanted = graph(photos=photo_node(), train=train_node(output_name=name))
    (error,) = server.validate_errors(wanted)["node_errors"]["train"]["errors"]
    assert "output_name" in error["details"] and repr(name) in error["details"]


def test_two_subjects_are_trained_together(server):
    cat = photo_node(instance_prompt="a photo of ohwx cat", instance_set=["photos", 0])
    train = train_node(output_name="both", max_train_steps=2, instance_set=["cat", 0])
    server.run(graph(photos=photo_node(), cat=cat, train=train))
    config = server.base_dir / "output" / "dreambooth" / "both" / "config.json"
    concepts = json.loads(config.read_text("utf-8"))["concepts"]
    prompts = [concept["instance"]["instance_prompt"] for concept in concepts]
    assert prompts == ["a photo of sks dog", "a photo of ohwx cat"]
    assert run_events(server, "both")[-1]["event"] == "finished"


def test_uploaded_photos_are_taken_as_a_list(server, photos):
    names = [server.upload_image(path) for path in sorted(photos.iterdir())[:2]]
    wanted = graph(
        photos=photo_node(folder="", photos={"__value__": names}),
        shown=node("PreviewImage", images=["photos", 1]),
    )
    assert len(server.run(wanted)["outputs"]["shown"]["images"]) == 2


def test_changed_photos_are_noticed(server, photos):
    folder = server.base_dir / "input" / "changing"
    folder.mkdir()
    first, second, _ = sorted(photos.iterdir())
    (folder / "a.png").write_bytes(first.read_bytes())
    wanted = graph(
        photos=photo_node(folder="changing"), shown=node("PreviewImage", images=["photos", 1])
    )
    before = picture(server, server.run(wanted)["outputs"]["shown"]["images"][0])
    (folder / "a.png").write_bytes(second.read_bytes())
    after = picture(server, server.run(wanted)["outputs"]["shown"]["images"][0])
    assert np.abs(before - after).max() > 0


def test_inputs_show_the_settings_bounds_and_help(server):
    info = server.object_info()["DreamBoothTrain"]["input"]
    rank = info["required"]["rank"][1]
    assert (rank["default"], rank["min"], rank["max"]) == (16, 1, 256)
    assert rank["tooltip"].startswith("How much the LoRA can hold")
    assert info["optional"]["alpha"][1]["advanced"] is True
    assert info["required"]["seed"][1]["control_after_generate"] is False


def test_help_pages_and_templates_are_served(server):
    page = server._request("/extensions/dreambooth/docs/DreamBoothTrain.md")
    assert page.startswith(b"# DreamBooth Train")
    templates = server.get("/api/workflow_templates")["dreambooth"]
    assert "DreamBooth 1 - train and sample" in templates


def test_importing_the_pack_adds_no_heavy_module_and_little_time():
    code = f"""
import asyncio, importlib.util, sys, time
sys.argv = ["main.py", "--cpu"]
sys.path.insert(0, {str(comfy_host.comfy_dir())!r})
import utils.install_util  # before comfy.utils hides the name
import comfy.options
comfy.options.enable_args_parsing()
import comfy.sd, comfy.samplers, folder_paths, latent_preview, nodes, server
from comfy_api.latest import io, ui
before = set(sys.modules)
start = time.process_time()
spec = importlib.util.spec_from_file_location(
    "pack", {str(PACK / "__init__.py")!r}, submodule_search_locations=[{str(PACK)!r}])
sys.modules["pack"] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
seconds = time.process_time() - start
new = sorted(name for name in set(sys.modules) - before if name.partition(".")[0] != "pack")
print("RESULT", seconds, *new)
"""
    command = [str(comfy_host.comfy_python()), "-c", code]
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=comfy_host.comfy_dir()
    )
    seconds, *others = found.stdout.partition("RESULT")[2].split()
    assert others == []
    assert float(seconds) < 0.2  # of processor time; 0.04 on an idle machine, more on a busy one


def suggest_node(**changes: object) -> Json:
    settings = {"class_noun": "dog", "words": "Red xyzzyqu", "number": 2}
    return node("DreamBoothSuggestIdentifier", **BASE | settings | changes)


@pytest.mark.slow
def test_identifiers_are_suggested_by_the_model_on_the_wires(server, trained):
    word = node("PreviewAny", source=["suggest", 0])
    shown = server.run(graph(suggest=suggest_node(), word=word))["outputs"]
    red, own, best, other = shown["suggest"]["report"][0].splitlines()
    assert red.startswith("red: one common token") and own.startswith("xyzzyqu: splits into 3")
    assert shown["word"]["text"] == [best.partition(":")[0]]
    assert "one rare token" in best and "one rare token" in other
    assert any("Rating words" in text for text in progress_texts(server))
    patched = node(
        "LoraLoaderModelOnly", model=["base", 0], lora_name="dog.safetensors", strength_model=1.0
    )
    suggest = suggest_node(model=["patched", 0], number=1, words="")
    again = server.run(graph(patched=patched, suggest=suggest))["outputs"]
    assert len(again["suggest"]["report"][0].splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"words": "<sks>"}, "not one word"), ({"class_noun": " "}, "class_noun is ' '")],
)
def test_words_that_cannot_be_rated_are_refused(server, changes, message):
    assert message in error_of(server, graph(suggest=suggest_node(**changes)))
