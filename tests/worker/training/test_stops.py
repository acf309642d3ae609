"""A stop is heard in every loop of the worker, and costs at most the step that was begun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CLASS_PROMPT
from tests.worker.training.test_train import newest_state, run_training
from trainer.environment.environment import worker_env
from trainer.files.fingerprint import BLOCK_BYTES, file_sha256
from trainer.runs.control import Control, Stop
from trainer.runs.events import Event, Progress, Stopped
from trainer.runs.run import Run
from trainer.worker.training.job import Job
from trainer.worker.training.loop import train


class StopAt(Control):
    """Is asked to stop at the nth of the places where a job looks."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.looks = number, 0

    def check(self) -> None:
        """Set the flag when it is time, then look."""
        self.looks += 1
        if self.looks == self.number:
            self.stop.set()
        super().check()


def test_a_job_looks_for_a_stop_at_every_prompt_and_sampling_step(make_config, tmp_path):
    config = make_config(max_train_steps=1, sample_prompts=[f"dog {n}" for n in range(20)])
    control, run = StopAt(0), Run(tmp_path / "runs" / "dog")
    train(Job(config, run, False, lambda event: None, control))
    run.lock.release()
    encoded, sampled = 2, config.samples.sample_inference_steps
    assert control.looks >= 20 * (encoded + sampled)


def test_a_stop_before_the_first_step_leaves_nothing_to_resume(make_config, tmp_path):
    config = make_config(sample_prompts=[f"dog {n}" for n in range(40)])
    for number in (1, 5, 30, 44):
        run, told = Run(tmp_path / "runs" / str(number)), []
        control = StopAt(number)
        with pytest.raises(Stop):
            train(Job(config, run, False, told.append, control))
        run.lock.release()
        assert control.looks <= number + 1
        assert not any(isinstance(event, Progress) for event in told)


def test_a_stop_between_the_passes_of_a_step_leaves_the_step_before(make_config, tmp_path):
    config = make_config(gradient_accumulation_steps=8, class_prompt=CLASS_PROMPT,
                         num_class_images=2, max_train_steps=3)  # fmt: skip
    straight, folder = tmp_path / "runs" / "straight", tmp_path / "runs" / "stopped"
    run_training(config, straight)
    control, run = StopAt(0), Run(folder)

    def report(event: Event) -> None:
        if isinstance(event, Progress) and event.step == 2:
            control.number, control.looks = 5, 0

    last = train(Job(config, run, False, report, control))
    run.lock.release()
    assert isinstance(last, Stopped) and last.step == 2
    run_training(config, folder, resume=True)
    before, after = newest_state(straight), newest_state(folder)
    assert all(before[name].equal(after[name]) for name in before)


def test_hashing_a_large_file_can_be_given_up(tmp_path: Path):
    path = tmp_path / "base.safetensors"
    path.write_bytes(bytes(3 * BLOCK_BYTES))
    control = StopAt(2)
    with pytest.raises(Stop):
        file_sha256(path, control.check)
    assert control.looks == 2
    assert file_sha256(path) == file_sha256(path, control.check)  # known: nothing is read


DEAF = {
    "a loop": "while True: pass",
    "one call that lets no other thread run": "time.sleep(3); re.match('(a+)+$', 'a' * 60 + 'b')",
}


@pytest.mark.parametrize("work", DEAF)
def test_a_process_that_does_not_stop_ends_when_the_host_is_gone(work: str):
    code = (
        "import re, sys, threading, time; from trainer.worker import __main__ as worker\n"
        "from trainer.runs.control import Control\n"
        "worker.GRACE_SEC = 5\n"
        "def listen(): worker.listen(requests, Control())\n"
        "requests = worker.private_input()\n"
        "threading.Thread(target=listen, daemon=True).start()\n"
        "print('works', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code + DEAF[work]], env=worker_env(), encoding="utf-8",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "works\n"
        process.stdin.close()
        assert process.wait(30) == 1
        assert process.stderr is not None
        told = process.stderr.read()
    finally:
        process.kill()
    assert "The host is gone" in told and "Timeout" in told and "<string>" in told
