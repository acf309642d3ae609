"""Several processes train the same as one with the same images per step, and stop as one.

A step's images, noise and timesteps follow from the seed and their place alone, and the gradient is
the mean over processes. So two processes compute what one computes that accumulates two passes, in
the same order: the results must be equal to the bit. One pass over a batch of both rounds otherwise
inside the convolutions, by about 1e-6 of the gradient; where a gradient is as small as AdamW's eps
of 1e-8, AdamW makes of that up to a hundredth of a full update (1e-5 at a learning rate of 1e-3).
So that comparison is of losses and gradients, and not of weights.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from trainer.environment.environment import worker_env

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="gloo between processes is tried on Linux"),
]
STEPS = 3
Train = Callable[..., list[subprocess.Popen[bytes]]]


@pytest.fixture
def train(tiny_checkpoint, photos: Path) -> Iterator[Train]:
    """Starts processes as launchers do, each in the run's folder of its own test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, processes: int, *more: object, family: str = "sd1") -> list:
        command = [
            sys.executable, "-m", "trainer", "train", "--base", tiny_checkpoint(family),
            "--instance-images", photos, "--instance-prompt", "a photo of sks dog",
            "--class-prompt", "a dog", "--num-class-images", 2, "--class-inference-steps", 1,
            "--resolution", 64, "--rank", 2, "--train-text-encoder", "--mixed-precision", "no",
            "--sample-every", "none", "--sample-inference-steps", 1, "--learning-rate", 1e-3,
            "--save-every", 1, "--checkpoints-total-limit", 9,
            "--output", "out/dog.safetensors", *more,
        ]  # fmt: skip
        folder.mkdir(exist_ok=True)
        port = free_port()
        for rank in range(processes):
            where = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
            where |= {"LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
            where |= {"MASTER_PORT": port}
            env = worker_env() | {"OMP_NUM_THREADS": "1"}
            if processes > 1:
                env |= {name: str(value) for name, value in where.items()}
            with (folder / f"rank_{rank}.log").open("ab") as log:
                process = subprocess.Popen(
                    list(map(str, command)), cwd=folder, env=env, stdout=log, stderr=log
                )
            started.append(process)
        return started[-processes:]

    yield start
    for process in started:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def codes(processes: list[subprocess.Popen[bytes]]) -> list[int]:
    return [process.wait(300) for process in processes]


def events(folder: Path, name: str) -> list[dict]:
    file = folder / "runs" / "dog" / "events.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] == name]


def state(folder: Path, step: int) -> dict[str, Tensor]:
    """Weights and moments after a step."""
    path = folder / "runs" / "dog" / "checkpoints" / f"step_{step:06d}"
    return load_file(path / "trained.safetensors") | load_file(path / "optimizer.safetensors")


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert_equal(one, two)
    assert any(torch.any(one[name] != 0) for name in one if name.endswith("lora_up.weight"))


def gradient(folder: Path) -> Tensor:
    """That of the first step, up to AdamW's factor 0.1."""
    found = state(folder, 1)
    moments = [found[name] for name in sorted(found) if name.endswith(".exp_avg")]
    return torch.cat([moment.flatten().double() for moment in moments])


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_two_processes_equal_one_with_the_same_images_per_step(train: Train, tmp_path, family):
    two, passes, batch = (tmp_path / name for name in ("two", "passes", "batch"))
    steps = ("--max-train-steps", STEPS)
    assert codes(train(two, 2, *steps, family=family)) == [0, 0]
    more = (*steps, "--gradient-accumulation-steps", 2)
    assert codes(train(passes, 1, *more, family=family)) == [0]
    assert_same(state(passes, STEPS), state(two, STEPS))
    losses = [[event["loss"] for event in events(folder, "progress")] for folder in (two, passes)]
    assert losses[0] == losses[1] and len(losses[0]) == STEPS
    assert len(events(two, "finished")) == 1
    assert codes(train(batch, 1, *steps, "--train-batch-size", 2, family=family)) == [0]
    at_once = [event["loss"] for event in events(batch, "progress")]
    assert at_once == pytest.approx(losses[0], rel=1e-6)
    apart, together = gradient(two), gradient(batch)
    assert (apart - together).norm() < 1e-5 * together.norm()


def test_two_subjects_of_which_one_has_class_images_are_shared_too(train: Train, photos, tmp_path):
    """Then one process has more images in a step than the other."""
    both = [
        "--class-prompt", "",
        "--concept", f"instance_images={photos}", "class_prompt=a dog",
        "--concept", f"instance_images={photos}", "instance_prompt=a photo of ohwx cat",
        "--max-train-steps", STEPS,
    ]  # fmt: skip
    assert codes(train(tmp_path / "two", 2, *both)) == [0, 0]
    assert codes(train(tmp_path / "one", 1, *both, "--gradient-accumulation-steps", 2)) == [0]
    assert_same(state(tmp_path / "two", STEPS), state(tmp_path / "one", STEPS))
    losses = [
        [
            (event["instance_loss"], event["prior_loss"])
            for event in events(tmp_path / name, "progress")
        ]
        for name in ("one", "two")
    ]
    assert losses[0] == [pytest.approx(pair) for pair in losses[1]]


def test_a_stop_of_one_process_stops_all_and_any_number_goes_on(train: Train, tmp_path):
    whole, stopped, alone = (tmp_path / name for name in ("whole", "stopped", "alone"))
    steps = 40
    ranks = train(stopped, 2, "--max-train-steps", steps)
    wait_until(lambda: len(events(stopped, "progress")) >= 2, ranks)
    ranks[1].send_signal(signal.SIGTERM)
    before = len(events(stopped, "progress"))
    assert codes(ranks) == [3, 3]
    (end,) = events(stopped, "stopped")
    step = end["step"]
    assert before <= step <= before + 2 < steps
    assert events(stopped, "checkpoint")[-1]["step"] == step
    assert len(list((stopped / "out").glob("*.safetensors"))) == 1

    last = ("--max-train-steps", step + 2)
    shutil.copytree(stopped, alone)
    assert codes(train(whole, 2, *last)) == [0, 0]
    assert codes(train(stopped, 2, *last, "--resume")) == [0, 0]
    assert_same(state(whole, step + 2), state(stopped, step + 2))
    assert codes(train(alone, 1, *last, "--gradient-accumulation-steps", 2, "--resume")) == [0]
    assert_same(state(whole, step + 2), state(alone, step + 2))


def test_a_full_fine_tune_of_two_subjects_is_shared_and_goes_on_to_the_bit(
    train: Train, photos, tmp_path
):
    """With 8-bit AdamW, whose state is quantised; its layers are large enough for that."""
    whole, stopped, alone = (tmp_path / name for name in ("whole", "stopped", "alone"))
    full = [
        "--method", "full", "--optimizer", "adamw8bit", "--learning-rate", 1e-4,
        "--class-prompt", "", "--checkpoints-total-limit", 99,
        "--concept", f"instance_images={photos}", "class_prompt=a dog",
        "--concept", f"instance_images={photos}", "instance_prompt=a photo of ohwx cat",
    ]  # fmt: skip
    ranks = train(stopped, 2, *full, "--max-train-steps", 40)
    wait_until(lambda: len(events(stopped, "progress")) >= 1, ranks)
    ranks[1].send_signal(signal.SIGTERM)
    assert codes(ranks) == [3, 3]
    (end,) = events(stopped, "stopped")
    assert end["result_kind"] == "checkpoint"
    last = ("--max-train-steps", end["step"] + 2)
    assert codes(train(stopped, 2, *full, *last, "--resume")) == [0, 0]
    assert codes(train(whole, 2, *full, *last)) == [0, 0]
    assert_equal(state(whole, end["step"] + 2), state(stopped, end["step"] + 2))
    assert codes(train(alone, 1, *full, *last, "--gradient-accumulation-steps", 2)) == [0]
    assert_equal(state(whole, end["step"] + 2), state(alone, end["step"] + 2))
    kinds = {tensor.dtype for tensor in state(whole, end["step"] + 2).values()}
    assert torch.uint8 in kinds


def assert_equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_fewer_images_per_step_are_no_resume(train: Train, tmp_path):
    assert codes(train(tmp_path, 2, "--max-train-steps", 1)) == [0, 0]
    assert codes(train(tmp_path, 1, "--max-train-steps", 2, "--resume")) == [2]
    assert "gradient_accumulation_steps" in (tmp_path / "rank_0.log").read_text("utf-8")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stop_before_the_first_step_leaves_no_process_waiting(train: Train, tmp_path, rank):
    ranks = train(tmp_path, 2, "--max-train-steps", 40)
    wait_until(lambda: bool(events(tmp_path, "status")), ranks)
    ranks[rank].send_signal(signal.SIGTERM)
    assert codes(ranks) == [3, 3]
    assert events(tmp_path, "progress") == []
    assert len(events(tmp_path, "stopped")) == 1


def wait_until(done: Callable[[], bool], ranks: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + 400
    while not done():
        assert time.monotonic() < deadline and all(rank.poll() is None for rank in ranks)
        time.sleep(0.02)


def test_accelerate_launches_them(train: Train, tiny_checkpoint, photos, tmp_path):
    """As docs/distributed.md says: `--multi_gpu` makes processes on a computer without GPUs too."""
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m",
    ]  # fmt: skip
    job = [
        "trainer", "train", "--base", tiny_checkpoint("sd1"), "--instance-images", photos,
        "--instance-prompt", "a photo of sks dog", "--resolution", 64, "--max-train-steps", 1,
        "--mixed-precision", "no", "--sample-inference-steps", 1, "--output", "dog.safetensors",
    ]  # fmt: skip
    env = worker_env() | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, *map(str, job)], cwd=tmp_path, env=env, check=True, timeout=300)
    (started,) = events(tmp_path, "started")
    assert started["max_train_steps"] == 1
    assert [path.name for path in (tmp_path / "runs").glob("dog*")] == ["dog"]
