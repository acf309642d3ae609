"""The worker process as hosts meet it: a job on standard input, events on standard output."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trainer.config.config import Config
from trainer.environment.environment import worker_env
from trainer.runs import events, orders
from trainer.worker.training.checkpoint import checkpoints


def start(config: Config | dict[str, Any], run: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "trainer.worker"], env=worker_env(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    values = config.to_dict() if isinstance(config, Config) else config
    send(process, orders.Train(str(run), values, resume=True))
    return process


def read_until(process: subprocess.Popen[str], kind: type[events.Event]) -> events.Event:
    assert process.stdout is not None
    for line in process.stdout:
        event = events.from_line(line)
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


def send(process: subprocess.Popen[str], message: orders.Order | orders.Request) -> None:
    assert process.stdin is not None
    process.stdin.write(orders.to_line(message) + "\n")
    process.stdin.flush()


def test_commands_save_sample_and_stop(make_config, tmp_path):
    process = start(make_config(max_train_steps=100_000), tmp_path / "runs" / "r")
    read_until(process, events.Progress)
    send(process, orders.Save())
    saved = read_until(process, events.Checkpoint)
    send(process, orders.Sample())
    sample = read_until(process, events.Sample)
    send(process, orders.Stop())
    stopped = read_until(process, events.Stopped)
    assert process.wait(60) == 3
    assert saved.step <= sample.step <= stopped.step
    assert Path(sample.path).exists() and Path(stopped.result_path).exists()


def test_requests_are_read_from_where_nobody_else_looks():
    code = (
        "import os, sys; from trainer.worker.__main__ import private_input\n"
        "requests = private_input()\n"
        "print([requests.readline(), sys.stdin.read(), requests.read()])\n"
        "print(os.path.samestat(os.fstat(0), os.stat(os.devnull)))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=worker_env(), input="hôte\nstop\n", check=True,
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert said.stdout.splitlines() == ["['hôte\\n', '', 'stop\\n']", "True"]


@pytest.mark.parametrize("gone", ["input", "both pipes"])
def test_a_host_that_is_gone_costs_nothing(make_config, tmp_path, gone):
    run = tmp_path / "runs" / "r"
    process = start(make_config(max_train_steps=100_000), run)
    read_until(process, events.Progress)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    if gone == "both pipes":
        process.stdout.close()
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if gone == "input":
            process.stdout.readline()
        time.sleep(0.01)
    assert process.poll() == 3
    last = events.from_line((run / "events.jsonl").read_text("utf-8").splitlines()[-1])
    assert isinstance(last, events.Stopped) and last.resumable
    assert Path(last.result_path).exists()
    assert checkpoints(run / "checkpoints")[-1].name == f"step_{last.step:06d}"


def test_a_bad_config_fails_with_its_remedy_and_leaves_nothing(make_config, tmp_path):
    values = make_config().to_dict()
    values["trained"]["rank"] = 0
    process = start(values, tmp_path / "runs" / "r")
    failed = read_until(process, events.Failed)
    assert process.wait(60) == 2
    assert (failed.code, failed.message) == ("config", "rank is 0.")
    assert "at least 1" in failed.hint
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("line", ["5", "null", "[]", "{}", '{"event": "checkpoint"}', "{", ""])
def test_a_line_that_is_no_event_is_a_value_error(line):
    with pytest.raises(ValueError):
        events.from_line(line)
