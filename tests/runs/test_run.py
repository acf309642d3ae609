"""The worker process as a host sees it; scripts stand in for it where only the pipe is tested."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.environment import environment
from trainer.files import atomic as files
from trainer.files.atomic import append_lines, new_folder, write_atomic, write_unique
from trainer.runs import orders
from trainer.runs import worker as worker_module
from trainer.runs.events import Event, Failed, Finished, Status, Stopped
from trainer.runs.run import Run
from trainer.runs.worker import Worker

PRELUDE = """
import json, os, sys, time
job = json.loads(sys.stdin.readline())

def tell(event, **fields):
    status = {"done": 0, "total": 0, "message": ""} if event == "status" else {}
    print(json.dumps({"event": event, "time": 0.0, **status, **fields}), flush=True)

def finish():
    tell("finished", step=1, result_path="", result_kind="", seconds=1.0)
"""
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")

StartWorker = Callable[..., Worker]


@pytest.fixture
def start_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartWorker:
    """Start a script in place of the worker; it has read its job and can tell events."""

    def start(script: str, **config: object) -> Worker:
        path = tmp_path / "worker.py"
        path.write_text(PRELUDE + textwrap.dedent(script), "utf-8")
        monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
        monkeypatch.setattr(worker_module, "worker_command", lambda *_: [sys.executable, str(path)])
        return Worker(orders.Train(str(tmp_path / "é run"), config, resume=False))

    return start


def messages(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Status)]


def test_the_job_comes_first_and_events_follow_in_order(start_worker: StartWorker) -> None:
    worker = start_worker(
        """
        for word in job["config"]["words"]:
            tell("status", stage="training", message=word)
        finish()
        """,
        words=["eins", "zwö", "三"],
    )
    events = list(worker.events())
    assert messages(events) == ["eins", "zwö", "三"]
    assert isinstance(events[-1], Finished)
    assert list(worker.events()) == []
    assert worker.poll_event(0) is None


def test_a_job_larger_than_the_pipe_arrives(start_worker: StartWorker) -> None:
    script = 'tell("status", stage="loading", message=str(len(job["config"]["text"])))\nfinish()'
    assert messages(list(start_worker(script, text="x" * 300_000).events())) == ["300000"]


def test_the_process_has_ended_when_the_last_event_comes(start_worker: StartWorker) -> None:
    worker = start_worker("finish()\ntime.sleep(0.5)\nsys.exit(5)")
    list(worker.events())
    assert worker.returncode == 5


def test_a_process_that_does_not_end_after_its_last_event_is_killed(
    start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "EXIT_GRACE_SEC", 0.3)
    worker = start_worker("finish()\ntime.sleep(60)")
    assert [type(event) for event in worker.events()] == [Finished]
    assert worker.returncode is not None


def test_requests_reach_the_worker(start_worker: StartWorker) -> None:
    worker = start_worker(
        """
        for line in sys.stdin:
            command = json.loads(line)["command"]
            tell("status", stage="training", message=command)
            if command == "stop":
                break
        tell("stopped", step=3, result_path="", result_kind="", resumable=True)
        """
    )
    worker.send(orders.Save())
    worker.send(orders.Sample())
    worker.stop(grace=30)
    events = list(worker.events())
    assert messages(events) == ["save", "sample", "stop"]
    assert isinstance(events[-1], Stopped)


def test_a_worker_that_does_not_stop_is_killed(start_worker: StartWorker) -> None:
    worker = start_worker("time.sleep(60)")
    begin = time.monotonic()
    worker.stop(grace=0.2)
    (last,) = worker.events()
    assert isinstance(last, Failed)
    assert last.code == "killed"
    assert "Resume" in last.hint
    assert time.monotonic() - begin < 10


def test_polling_leaves_time_to_look_at_other_things(start_worker: StartWorker) -> None:
    worker = start_worker("sys.stdin.readline()\nfinish()")
    assert worker.poll_event(0.05) is None
    worker.send(orders.Stop())
    assert isinstance(worker.poll_event(30), Finished)


def test_what_is_no_event_goes_to_the_log(start_worker: StartWorker) -> None:
    worker = start_worker(
        """
        print("Loading café")
        print("5")
        print('{"event": "checkpoint"}')
        print('{"event": "unknown"}')
        print("on stderr", file=sys.stderr)
        finish()
        """
    )
    assert [type(event) for event in worker.events()] == [Finished]
    log = worker.run.log.read_text("utf-8")
    for line in ("Loading café", "5", '{"event": "checkpoint"}', "on stderr"):
        assert f"{line}\n" in log


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("print('the reason', file=sys.stderr)\nsys.exit(9)", "exit code 9"),
        ("print('the reason', file=sys.stderr)", "exit code 0"),
        ("raise RuntimeError('the reason')", "exit code 1"),
    ],
)
def test_an_end_without_a_last_event_is_a_crash(
    start_worker: StartWorker, script: str, told: str
) -> None:
    worker = start_worker(script)
    (last,) = worker.events()
    assert isinstance(last, Failed)
    assert last.code == "crashed"
    assert told in last.message
    assert "the reason" in last.message
    assert last.log_path == str(worker.run.log)
    (line,) = worker.run.events.read_text("utf-8").splitlines()
    assert json.loads(line)["code"] == "crashed"


@POSIX
def test_a_killed_worker_points_at_memory(start_worker: StartWorker) -> None:
    (last,) = start_worker("os.kill(os.getpid(), 9)").events()
    assert isinstance(last, Failed)
    assert "SIGKILL" in last.message
    assert "memory" in last.hint


def test_requests_to_a_worker_that_has_gone_do_nothing(start_worker: StartWorker) -> None:
    worker = start_worker("finish()")
    list(worker.events())
    worker.send(orders.Save())
    worker.stop(grace=1)
    worker.kill()
    assert worker.returncode == 0


@POSIX
def test_an_interrupt_of_the_host_does_not_reach_the_worker(start_worker: StartWorker) -> None:
    worker = start_worker("sys.stdin.readline()\nfinish()")
    assert os.getpgid(worker.process.pid) != os.getpgid(0)
    worker.stop(grace=30)


@POSIX
def test_a_worker_whose_host_has_died_hears_the_end_of_its_input(tmp_path: Path) -> None:
    done = tmp_path / "done"
    script = tmp_path / "worker.py"
    script.write_text(
        PRELUDE + f"assert sys.stdin.read() == ''\nopen({str(done)!r}, 'w').close()\n", "utf-8"
    )
    host = f"""
        import sys, time
        from trainer.runs import orders, worker
        worker.worker_command = lambda *_: [sys.executable, {str(script)!r}]
        started = worker.Worker(orders.Train({str(tmp_path / "run")!r}, {{}}, resume=False))
        print("started", flush=True)
        time.sleep(60)
    """
    env = environment.worker_env() | {"DREAMBOOTH_PYTHON": sys.executable}
    command = [sys.executable, "-c", textwrap.dedent(host)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert done.exists()


def test_refused_settings_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    worker = Worker(orders.Train(str(tmp_path / "run"), {"rnk": 4}, resume=False))
    (last,) = worker.events()
    assert isinstance(last, Failed)
    assert last.code == "config"
    assert "'rank'" in last.hint
    assert worker.returncode == 2
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_there_stays(start_worker: StartWorker, tmp_path: Path) -> None:
    earlier = Run(tmp_path / "é run")
    earlier.create("{}")
    script = 'tell("failed", code="config", message="no", hint="yes", log_path="")'
    list(start_worker(script).events())
    assert earlier.config.exists()


def test_a_discarded_run_leaves_only_what_is_not_ours(tmp_path: Path) -> None:
    for name, left in (("empty", []), ("kept", ["notes.txt"])):
        made = Run(tmp_path / name)
        made.create("{}")
        for note in left:
            (made.folder / note).touch()
        made.discard()
        made.discard()
        found = made.folder.iterdir() if made.folder.exists() else ()
        assert [path.name for path in found] == left


@pytest.mark.parametrize("data", ["größer", b"\x00\xff"])
def test_a_file_is_written_whole(tmp_path: Path, data: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("before", "utf-8")
    write_atomic(path, data)
    assert path.read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("before", "utf-8")
    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(OSError, match="disk full.*file"):
        write_atomic(path, "after")
    assert path.read_text("utf-8") == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def raise_disk_full(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "disk full")


def test_a_file_that_is_being_read_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [PermissionError(), PermissionError()]
    real = Path.replace

    def replace(source: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return real(source, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(files, "PAUSES_SEC", (0, 0))
    write_atomic(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text("utf-8") == "after"


def test_lines_wait_for_a_program_that_keeps_the_file_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [PermissionError(), PermissionError()]
    real = files.open_own

    def refuse(path: Path, mode: str) -> Any:
        if refusals:
            raise refusals.pop()
        return real(path, mode)

    monkeypatch.setattr(files, "open_own", refuse)
    monkeypatch.setattr(files, "PAUSES_SEC", (0, 0))
    append_lines(tmp_path / "file", "line\n")
    assert (tmp_path / "file").read_bytes() == b"line\n"
    refusals[:] = [PermissionError() for _ in range(3)]
    with pytest.raises(PermissionError, match="file"):
        append_lines(tmp_path / "file", "line\n")


def test_each_name_is_given_once(tmp_path: Path) -> None:
    made = [write_unique(tmp_path, "dog.v1", ".safetensors", lambda _: b"x") for _ in range(3)]
    wanted = ["dog.v1.safetensors", "dog.v1_2.safetensors", "dog.v1_3.safetensors"]
    assert [path.name for path in made] == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == wanted


def test_a_name_is_free_where_what_lies_beside_it_is(tmp_path: Path) -> None:
    (tmp_path / "dog.json").write_text("settings")
    (tmp_path / "dog_2.png").write_text("photo")
    path = write_unique(tmp_path, "dog", ".safetensors", lambda _: b"x", (".json", ".png"))
    assert path.name == "dog_3.safetensors"


def test_a_new_folder_comes_after_all_that_were_made(tmp_path: Path) -> None:
    for name in ("dog_9", "dog_10", "dog_1", "dog_x", "cat_77"):
        (tmp_path / name).mkdir()
    (tmp_path / "dog_11").touch()
    assert new_folder(tmp_path, "dog").name == "dog_12"
    assert new_folder(tmp_path, "bird").name == "bird"
