"""The terminal, as a user or a script meets it: real processes of `python -m trainer`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from trainer.environment.environment import worker_env
from trainer.files.lock import locked

ENVIRONMENT = {**worker_env(), "DREAMBOOTH_PYTHON": sys.executable}


def trainer(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainer", *map(str, arguments)],
        cwd=folder, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=300,
    )  # fmt: skip


def quick(base: Path, photos: Path, *more: object) -> list[object]:
    """A training of two tiny steps."""
    return [
        "train", "--base", base, "--instance-images", photos, "--instance-prompt",
        "a photo of sks dog", "--resolution", 64, "--rank", 2, "--max-train-steps", 2,
        "--mixed-precision", "no", "--sample-inference-steps", 1,
        "--output", "out/dog.safetensors", *more,
    ]  # fmt: skip


def test_train_sample_and_inspect_from_photos_to_pictures(tiny_checkpoint, photos, tmp_path):
    base = tiny_checkpoint("sd1")
    done = trainer(
        *quick(base, photos, "--class-prompt", "a photo of a dog", "--set", "num_class_images=1"),
        "--set", "class_inference_steps=1", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Step 2/2, loss" in done.stdout and "ETA 0:00:00" in done.stdout
    assert f"LoRA: {tmp_path / 'out' / 'dog.safetensors'}" in done.stdout
    assert len(load_file(tmp_path / "out" / "dog.safetensors")) > 100
    assert (tmp_path / "runs" / "dog" / "loss.png").exists()
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".safetensors", ".json", ".png"}

    drawn = trainer(
        "sample", "--base", base, "--lora", "out/dog.safetensors", "--prompt", "sks dog", "a dog",
        "--resolution", 64, "--steps", 1, "--mixed-precision", "no", folder=tmp_path,
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "sample_0.png",
        "sample_1.png",
    ]

    told = trainer("inspect", "out/dog.safetensors", folder=tmp_path)
    assert told.returncode == 0
    assert "LoRA" in told.stdout and "a photo of sks dog" in told.stdout


def test_class_images_are_made_alone_and_topped_up(tiny_checkpoint, tmp_path):
    flags = ["--base", tiny_checkpoint("sd1"), "--class-prompt", "a photo of a dog"]
    flags += ["--resolution", 64, "--class-inference-steps", 1, "--mixed-precision", "no"]
    for count in (1, 2):
        done = trainer("class-images", *flags, "--num-class-images", count, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "cache" / "class_images").iterdir()
    assert sorted(p.name for p in folder.glob("*.png")) == ["000000.png", "000001.png"]


def test_events_are_json_lines_with_exactly_one_last(tiny_checkpoint, photos, tmp_path):
    done = trainer(*quick(tiny_checkpoint("sd1"), photos, "--events"), folder=tmp_path)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("started") == 1 and names.count("progress") == 2
    assert names[-1] == "finished"
    assert sum(name in ("finished", "stopped", "failed") for name in names) == 1
    written = (tmp_path / "runs" / "dog" / "events.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in written] == events


@pytest.mark.parametrize("more", [["--rank", 0], ["--run", "."], ["--run", "r" * 300]])
def test_what_is_refused_at_once_is_an_event_too(tiny_checkpoint, photos, tmp_path, more):
    command = quick(tiny_checkpoint("sd1"), photos, "--events", *more)
    done = trainer(*command, folder=tmp_path)
    assert done.returncode == 2
    (event,) = map(json.loads, done.stdout.splitlines())
    assert (event["event"], event["code"]) == ("failed", "config")
    assert done.stderr == f"Error: {event['message']} {event['hint']}\n"


@pytest.mark.slow
def test_a_run_goes_on_from_another_working_folder(tiny_checkpoint, photos, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(photos, tmp_path / "mine")
    begun = trainer(*quick(tiny_checkpoint("sd1"), Path("mine")), folder=tmp_path)
    assert begun.returncode == 0, begun.stderr
    run = tmp_path / "runs" / "dog"
    more = ["--resume", "--run", run, "--max-train-steps", 3]
    again = trainer("train", *more, folder=elsewhere)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "dog_2.safetensors").exists()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGHUP on Windows")
def test_what_nohup_ignores_stays_ignored():
    code = (
        "import os, signal, trainer.runs.signals as signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signals.stop_on_signals(lambda: print('asked'))\n"
        "for number in (signal.SIGHUP, signal.SIGTERM): os.kill(os.getpid(), number)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, encoding="utf-8")
    assert done.stdout == "asked\n"


@pytest.mark.skipif(os.name == "nt", reason="signals are sent another way on Windows")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_stops_and_saves_and_resume_goes_on(tiny_checkpoint, photos, tmp_path, number):
    command = quick(tiny_checkpoint("sd1"), photos, "--set", "max_train_steps=100000", "--events")
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", *map(str, command)],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "progress":
            break
    asked = time.monotonic()
    process.send_signal(number)
    last = json.loads(process.stdout.read().splitlines()[-1])
    assert process.wait() == 3
    assert time.monotonic() - asked < 30
    assert (last["event"], last["resumable"]) == ("stopped", True)
    assert (tmp_path / last["result_path"]).exists()
    (tmp_path / "runs" / "dog").rename(tmp_path / "runs" / "dog_2")
    shutil.copytree(tmp_path / "runs" / "dog_2", tmp_path / "runs" / "dog_other")
    steps = f"max_train_steps={last['step'] + 1}"
    command = quick(tiny_checkpoint("sd1"), photos, "--set", steps, "--events")
    again = trainer(*command, "--resume", folder=tmp_path)  # resumes the newest, dog_2
    assert again.returncode == 0, again.stdout
    events = [json.loads(line) for line in again.stdout.splitlines()]
    started = next(event for event in events if event["event"] == "started")
    assert started["start_step"] == last["step"]


@pytest.mark.slow
def test_a_job_that_a_queue_starts_again_goes_on_and_ends_once(tiny_checkpoint, photos, tmp_path):
    def job(*more: object) -> subprocess.CompletedProcess[str]:
        base = tiny_checkpoint("sd1")
        return trainer(
            *quick(base, photos, "--run", "job", "--resume-or-start", *more), folder=tmp_path
        )

    config = tmp_path / "job" / "config.json"
    begun = job("--max-train-steps", 1)
    assert begun.returncode == 0 and config.exists(), begun.stderr
    for file in tmp_path.glob("out/*"):
        file.unlink()
    again = job()  # as if it had been stopped after a step
    assert again.returncode == 0 and "steps 2 to 2" in again.stdout, again.stdout
    there = everything(tmp_path)
    done = job()
    assert (done.returncode, everything(tmp_path)) == (0, there)
    assert done.stdout.startswith("Finished in ") and "dog.safetensors" in done.stdout
    events = job("--events").stdout.splitlines()
    assert [json.loads(line)["event"] for line in events] == ["finished"]
    changed = job("--rank", 3)
    assert changed.returncode == 2 and "rank" in changed.stdout, changed.stdout
    (tmp_path / "out" / "dog.safetensors").unlink()
    assert job().returncode == 0
    assert [file.stem for file in tmp_path.glob("out/*.safetensors")] == ["dog_2"]


def test_a_job_that_runs_is_not_started_twice(tiny_checkpoint, photos, tmp_path):
    (tmp_path / "runs" / "dog").mkdir(parents=True)
    with locked(tmp_path / "runs" / "dog" / "lock", waiting=lambda: None):
        done = trainer(*quick(tiny_checkpoint("sd1"), photos, "--resume-or-start"), folder=tmp_path)
    assert done.returncode == 2
    assert "being trained by another process" in done.stdout


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def bad_photos(folder: Path, photos: Path) -> dict[str, Path]:
    """Photos that cannot be used, by what is wrong with them."""
    made = {name: folder / name for name in ("empty", "text", "cut", "huge")}
    for path in made.values():
        path.mkdir(parents=True)
    (made["text"] / "dog.jpg").write_text("this is no picture")
    Image.open(photos / "photo_0.png").convert("RGB").save(made["cut"] / "cut.jpg")
    whole = (made["cut"] / "cut.jpg").read_bytes()
    (made["cut"] / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 20_000)).save(made["huge"] / "huge.png")
    return made


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "empty"),
        ("absent", "absent"),
        ("text", "dog.jpg"),
        ("cut", "cut.jpg"),
        ("huge", "huge.png"),
    ],
)
def test_bad_photos_give_one_message_and_leave_nothing(
    tiny_checkpoint, photos, tmp_path, kind, message
):
    folder = tmp_path / "photos"
    source = bad_photos(folder, photos).get(kind, folder / "absent")
    refused(tmp_path, quick(tiny_checkpoint("sd1"), source), message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--instance-prompt", ""], "instance_prompt is empty"),
        (["--resolution", "500"], "resolution is 500"),
        (["--rank", "0"], "rank is 0"),
        (["--output", "out/aux.safetensors"], "Windows reserves"),
        (["--output", "out/../..safetensors"], "output"),
        (["--output", "/proc/none/dog.safetensors"], "cannot be written"),
        (["--mixed-precision", "fp16"], "mixed_precision is fp16"),
        (["--vae", "none.safetensors"], "none.safetensors"),
        (["--base", "none.safetensors"], "none.safetensors"),
        (["--set", "learning_rte=1"], "Did you mean 'learning_rate'"),
        (["--set", "rank"], "has no '='"),
        (["--config", "none.json"], "none.json does not exist"),
        (["--resume"], "no run"),
    ],
)
def test_bad_settings_give_one_message_and_leave_nothing(
    tiny_checkpoint, photos, tmp_path, flags: Sequence[str], message
):
    refused(tmp_path, [*quick(tiny_checkpoint("sd1"), photos), *flags], message)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lora", "LoRA"),
        ("truncated", "truncated"),
        ("pickle", "pickle"),
        ("flux", "Flux"),
        ("sd3", "SD3|Stable Diffusion 3"),
        ("inpainting", "inpainting"),
    ],
)
def test_bad_checkpoints_give_one_message_and_leave_nothing(
    tiny_checkpoint, photos, tmp_path, kind, message
):
    folder = tmp_path / "models"
    folder.mkdir()
    refused(tmp_path, quick(bad_checkpoint(kind, folder, tiny_checkpoint("sd1")), photos), message)


def bad_checkpoint(kind: str, folder: Path, good: Path) -> Path:
    import torch

    path = folder / "model.safetensors"
    if kind == "pickle":
        path = folder / "model.ckpt"
        torch.save({"state_dict": {}}, path)
    elif kind == "truncated":
        path.write_bytes(good.read_bytes()[:10_000_000])
    elif kind == "inpainting":
        weights = load_file(good)
        name = "model.diffusion_model.input_blocks.0.0.weight"
        weights[name] = torch.zeros((32, 9, 3, 3), dtype=torch.float16)
        save_file(weights, path)
    else:
        names = {
            "lora": "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
            "flux": "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
            "sd3": "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
        }
        save_file({names[kind]: torch.zeros(4, 4)}, path)
    return path


def refused(folder: Path, command: Sequence[object], message: str) -> None:
    """The command fails as bad input does: exit code 2, one message, nothing left behind."""
    before = everything(folder)
    done = trainer(*command, folder=folder)
    told = done.stdout + done.stderr
    assert done.returncode == 2, told
    assert "Traceback" not in told
    errors = [line for line in told.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1, told
    import re

    assert re.search(message, errors[0]), errors[0]
    assert everything(folder) == before


def test_photos_with_any_name_are_trained(tiny_checkpoint, photos, tmp_path):
    folder = tmp_path / "фото 狗"
    folder.mkdir()
    for photo, name in zip(
        sorted(photos.iterdir()), ["小狗.png", "🐕 best.png", "ä ö.png"], strict=True
    ):
        shutil.copy(photo, folder / name)
    done = trainer(*quick(tiny_checkpoint("sd1"), folder), folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_bad_photo_is_skipped_if_the_user_says_so(tiny_checkpoint, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "broken.jpg").write_text("no picture")
    flags = ["--bad-images", "skip", "--events"]
    done = trainer(*quick(tiny_checkpoint("sd1"), folder, *flags), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    warnings = [e for e in events if e["event"] == "warning" and e["code"] == "skipped_photo"]
    assert len(warnings) == 1 and "broken.jpg" in warnings[0]["message"]
    started = next(event for event in events if event["event"] == "started")
    assert started["num_instance_images"] == 3


def test_a_run_folder_that_exists_is_not_mixed_with_a_new_run(tiny_checkpoint, photos, tmp_path):
    (tmp_path / "mine").mkdir()
    command = [*quick(tiny_checkpoint("sd1"), photos), "--run", "mine"]
    refused(tmp_path, command, "run folder mine already exists")


def test_doctor_says_what_is_there(tmp_path):
    done = trainer("doctor", folder=tmp_path)
    assert done.returncode == 0
    assert "torch" in done.stdout and sys.version.split()[0] in done.stdout


def test_identifiers_are_proposed_and_the_users_own_rated(tiny_checkpoint, tmp_path):
    flags = ["--base", tiny_checkpoint("sd1"), "--mixed-precision", "no", "--number", 2]
    done = trainer(
        "identifiers", *flags, "--class-noun", "coffee mug", "--word", "Red", "xyzzyqu",
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rated = [line for line in done.stdout.splitlines() if "prior (" in line]
    assert [line.partition(":")[0] for line in rated[:2]] == ["red", "xyzzyqu"]
    assert "splits into 3 tokens" in rated[1] and len(rated) == 4
    assert all("one rare token" in line for line in rated[2:])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", [["--word", "sks dog"], ["--class-noun", ""], ["--base", "no.x"]])
def test_bad_identifiers_are_refused(tiny_checkpoint, tmp_path, flag):
    done = trainer("identifiers", "--base", tiny_checkpoint("sd1"), *flag, folder=tmp_path)
    assert done.returncode == 2
    assert "Error: " in done.stderr + done.stdout


def test_dreambooth_py_knows_every_command():
    from dreambooth import COMMANDS
    from trainer.terminal.cli import make_parser

    (commands,) = (action for action in make_parser()._actions if action.choices)
    assert set(commands.choices or ()) == COMMANDS.keys() - {"test"}
