"""What becomes of a run when disks fill up, files are damaged and processes are killed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from tests.helpers.tiny_state import DESCRIBED, FILES, PARTS, tiny_state
from tests.terminal.test_cli import ENVIRONMENT, quick
from tests.worker.training.test_train import assert_identical, newest_state, run_training
from trainer.errors import ConfigError
from trainer.files import atomic as files
from trainer.files import disk
from trainer.runs import events
from trainer.runs.control import Control
from trainer.runs.run import Run
from trainer.worker.edge import Recorder, failure, guarded
from trainer.worker.training import checkpoint
from trainer.worker.training.job import Job
from trainer.worker.training.loop import train

FULL = OSError(errno.ENOSPC, "No space left on device")
Usage = namedtuple("Usage", "total used free")


def test_an_append_after_half_a_line_starts_a_new_one(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "pro')
    event = events.Status("saving")
    files.append_lines(path, events.to_line(event) + "\n")
    files.append_lines(path, events.to_line(event) + "\n")
    assert list(events.read_events(path)) == [event, event]


def save_checkpoints(folder: Path, steps: int) -> None:
    for step in range(1, steps + 1):
        checkpoint.save_checkpoint(folder, step, tiny_state(updated=True), DESCRIBED)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_checkpoint_is_known(tmp_path, name, how):
    save_checkpoints(tmp_path, 2)
    path = tmp_path / "step_000002" / name
    if how == "flipped":
        flip(path)
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 10 if how == "cut" else 0])
    found, damaged = checkpoint.newest_whole(tmp_path, PARTS)
    assert found == tmp_path / "step_000001"
    assert damaged == [tmp_path / "step_000002"]


def test_a_run_whose_checkpoints_are_all_damaged_never_starts_at_zero(tmp_path):
    assert checkpoint.newest_whole(tmp_path, PARTS) == (None, [])
    save_checkpoints(tmp_path, 2)
    for path in checkpoint.checkpoints(tmp_path):
        flip(path / "state.json")
    with pytest.raises(ConfigError, match="Every checkpoint .* is damaged.*backup"):
        checkpoint.newest_whole(tmp_path, PARTS)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(make_config, tmp_path):
    config, folder = make_config(save_every=1), tmp_path / "runs" / "r"
    run_training(config, tmp_path / "runs" / "straight")
    run_training(config, folder, stop_after=3)
    flip(folder / "checkpoints" / "step_000003" / "trained.safetensors")
    (folder / "checkpoints" / "step_000004.partial").mkdir()
    told = run_training(config, folder, resume=True)
    (warning,) = [e for e in told if isinstance(e, events.Warning) and "damaged" in e.code]
    assert "step_000003 is damaged; training resumes from step 2" in warning.message
    assert_identical(newest_state(tmp_path / "runs" / "straight"), newest_state(folder))
    assert not list(tmp_path.rglob("*.partial"))


def fill_disk_at(monkeypatch: pytest.MonkeyPatch, part: str, time: int = 1) -> None:
    """Let the disk be full from the given time on that a path with this part is written."""
    left = [time]
    for name in ("write_by_rename", "append_lines"):
        real = getattr(files, name)

        def write(path: Path, *arguments: object, real=real) -> None:
            left[0] -= part in str(path)
            if left[0] <= 0 and "adapter" not in str(path.parent):
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            real(path, *arguments)

        monkeypatch.setattr(files, name, write)
    monkeypatch.setattr("trainer.worker.edge.append_lines", files.append_lines)


@pytest.mark.parametrize(
    ("part", "nth"), [("samples", 1), ("step_000002.partial", 2), ("events.jsonl", 20)]
)
def test_a_full_disk_ends_a_run_that_then_goes_on(make_config, tmp_path, monkeypatch, part, nth):
    config = make_config(sample_every=2, save_every=1)
    run_training(config, tmp_path / "runs" / "straight")
    run, told = Run(tmp_path / "runs" / "r"), []

    def execute(report):
        return train(Job(config, run, True, report, Control()))

    with monkeypatch.context() as patched:
        fill_disk_at(patched, part, nth)
        assert guarded(run, execute, told.append) == 1
    last = told[-1]
    assert isinstance(last, events.Failed)
    assert last.code == "disk_full" and "Free space" in last.hint
    assert not list(tmp_path.rglob("*.partial"))
    _, damaged = checkpoint.newest_whole(run.checkpoints, PARTS)
    assert not damaged
    assert guarded(run, execute, told.append) == 0
    assert_identical(newest_state(tmp_path / "runs" / "straight"), newest_state(run.folder))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_second_failure_hides_no_first(tmp_path, monkeypatch, number):
    run, told = Run(tmp_path / "r"), []
    run.claim(tmp_path)
    monkeypatch.setattr("trainer.worker.edge.append_lines", lambda *_: raise_full())
    monkeypatch.setattr("traceback.print_exception", lambda *_: raise_full())
    last = failure(OSError(number, "full"), run)
    Recorder(run, told.append).finish(last)
    assert told == [last] and last.code == "disk_full"


def raise_full() -> None:
    raise FULL


def test_a_run_that_will_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 6 << 20))
    disk.check_space([(tmp_path / "a", 1 << 20), (tmp_path / "b", 1 << 20)])
    with pytest.raises(ConfigError, match="has 6 MiB free, and the run needs about 7 MiB"):
        disk.check_space([(tmp_path / "a", 1 << 20), (tmp_path / "b", 2 << 20)])
    with pytest.raises(OSError) as caught:
        disk.require_space(tmp_path, 7 << 20)
    assert disk.is_full(caught.value)


def test_a_cache_that_is_gone_or_damaged_is_made_again(make_config, tmp_path):
    config = make_config(class_prompt="a dog", num_class_images=1, max_train_steps=1)
    run_training(config, tmp_path / "runs" / "a")
    for path in (tmp_path / "runs" / "cache" / "latents").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    run_training(config, tmp_path / "runs" / "b")
    shutil.rmtree(tmp_path / "runs" / "cache")
    run_training(config, tmp_path / "runs" / "c")
    first, *others = (newest_state(tmp_path / "runs" / name) for name in "abc")
    for other in others:
        assert_identical(first, other)


def test_a_photo_that_is_gone_costs_nothing_until_the_run_is_resumed(make_config, photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    config, run = make_config(instance_images=(str(folder),)), Run(tmp_path / "runs/r")
    control = Control()

    def lose(event: events.Event) -> None:
        if isinstance(event, events.Started):
            (folder / "photo_0.png").unlink()
        if isinstance(event, events.Progress) and event.step == 2:
            control.stop.set()

    last = train(Job(config, run, False, lose, control))
    run.lock.release()
    assert isinstance(last, events.Stopped) and last.step == 2
    with pytest.raises(ConfigError, match="these files .* photo_0.png"):
        run_training(config, run.folder, resume=True)


@pytest.mark.skipif(os.name == "nt", reason="signals are sent another way on Windows")
def test_a_second_interrupt_leaves_at_once_with_every_checkpoint_whole(
    tiny_checkpoint, photos, tmp_path
):
    command = quick(tiny_checkpoint("sd1"), photos, "--set", "max_train_steps=100000", "--events")
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", *map(str, command), "--save-every", "1"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    saving = (line for line in process.stdout if b'"saving"' in line)
    for _ in range(3):
        next(saving)
    process.send_signal(signal.SIGINT)
    time.sleep(random.uniform(0, 0.05))  # the first may have been heard or not
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    process.communicate()
    assert process.returncode in (-signal.SIGINT, 3)
    assert time.monotonic() - asked < 5
    found, damaged = checkpoint.newest_whole(tmp_path / "runs" / "dog" / "checkpoints", PARTS)
    assert found is not None and not damaged


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are forked")
def test_killed_runs_end_as_the_unbroken_one(tmp_path):
    command = [sys.executable, "-m", "benchmarks.faults.kill", "--count", "3", "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert '"damaged_files": []' in done.stdout and '"runs_lost": []' in done.stdout


def test_an_image_of_no_numbers_is_not_blamed_on_the_learning_rate(capsys):
    """It comes of sampling, which has none; training has an error of its own."""
    last = failure(FloatingPointError("The model produced NaN."), None)
    assert (last.code, "learning_rate" in last.hint) == ("not_a_number", False)
    assert "Traceback" not in capsys.readouterr().err
