"""Locks between processes, by real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.environment.environment import worker_env
from trainer.errors import ConfigError
from trainer.files.atomic import MARK, remove_leftovers, write_new
from trainer.files.lock import Lock, locked
from trainer.runs.run import Run

FORMER = "0123456789ab"  # the mark of the process that holds a lock
HOLD = f"""
import sys, time
from pathlib import Path
from trainer.files.lock import Lock
lock = Lock(Path(sys.argv[1]))
assert lock.take()
lock.sign({FORMER!r})
print("held", flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """Start a process that holds a lock until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env=worker_env(), stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_lock_is_free_again_when_its_holder_is_killed(tmp_path):
    lock = Lock(tmp_path / "lock")
    process = hold(lock.path)
    assert not lock.take() and not lock.held
    kill(process)
    assert lock.take() and lock.held
    assert lock.former == FORMER
    assert not Lock(lock.path).take()
    lock.release()
    assert Lock(lock.path).take()


def test_waiting_for_a_lock_can_be_given_up(tmp_path):
    process = hold(tmp_path / "lock")

    def give_up() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), locked(tmp_path / "lock", give_up):
        pass
    with locked(tmp_path / "lock", process.kill) as lock:
        assert lock.held
    process.communicate()


def test_only_what_the_killed_holder_was_writing_is_removed(tmp_path):
    lock = Lock(tmp_path / "lock")
    kill(hold(lock.path))
    for name in (f".{FORMER}-1.partial", ".other-2.partial", "former.partial"):
        (tmp_path / name).touch()
    assert lock.take()
    remove_leftovers(lock, [tmp_path, tmp_path / "absent"])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"lock", ".other-2.partial", "former.partial"}
    lock.release()
    assert Lock(lock.path).take() and lock.path.read_text("ascii") == MARK


def files_below(folder):
    """All paths, and when the files among them were written."""
    paths = folder.rglob("*")
    return {path: path.stat().st_mtime_ns if path.is_file() else None for path in paths}


def test_a_run_that_another_process_trains_is_refused_and_left_alone(tmp_path):
    run = Run(tmp_path / "runs" / "dog")
    run.create("{}")
    run.checkpoints.mkdir()
    (run.checkpoints / "step_000002.partial").mkdir()
    process = hold(run.lock.path)
    before = files_below(tmp_path)
    for touch in (run.check_free, lambda: run.claim(tmp_path)):
        with pytest.raises(ConfigError, match="being trained by another process"):
            touch()
    run.discard()
    assert files_below(tmp_path) == before
    kill(process)
    run.check_free()
    run.claim(tmp_path)
    assert not list(run.checkpoints.iterdir())


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path):
    (tmp_path / "dog").write_text("first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "dog", "second")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize(
    "text", ["./other/x", "/**x", "*", "0123456789AB", "0" * 13, "x" * 1000, ""]
)
def test_what_is_not_a_mark_in_a_lock_removes_nothing(tmp_path, text):
    run, other = tmp_path / "run", tmp_path / "run" / "other"
    other.mkdir(parents=True)
    kept = [other / "x-1.partial", run / f".{FORMER}-1.partial", run / ".-1.partial"]
    for path in kept:
        path.touch()
    (run / "lock").write_text(text)
    lock = Lock(run / "lock")
    assert lock.take()
    remove_leftovers(lock, [run])
    lock.release()
    assert all(path.exists() for path in kept)
    assert (run / "lock").read_text() == MARK
