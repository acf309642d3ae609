"""Past runs: their order, what they were made from, and how they ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer.runs.events import Event, Failed, Finished, Progress, Stopped, to_line
from trainer.runs.history import (
    keep_fingerprint,
    lost_results,
    past_run,
    runs_from,
    runs_in,
)
from trainer.runs.run import NUMBER, Run

STEP = Progress(3, 9, 0.5, 0.5, None, 1e-4, 2.0, 3.0, 0.1)
IN_AN_HOUR = 4_000_000_000


def make_run(folder: Path, name: str, *events: Event) -> Run:
    run = Run(folder / name)
    run.create("{}")
    run.events.write_text("".join(to_line(event) + "\n" for event in events), "utf-8")
    return run


def names(runs: list[Run]) -> list[str]:
    return [run.folder.name for run in runs]


def test_the_newest_run_comes_first_whatever_the_clock_says(tmp_path: Path):
    first, _, _ = (make_run(tmp_path, name) for name in ("zebra", "dog", "cat"))
    assert names(runs_in(tmp_path)) == ["cat", "dog", "zebra"]
    for path in (first.config, first.folder):
        os.utime(path, (IN_AN_HOUR, IN_AN_HOUR))
    assert names(runs_in(tmp_path)) == ["cat", "dog", "zebra"]


def test_a_resumed_run_keeps_its_place(tmp_path: Path):
    first = make_run(tmp_path, "a")
    make_run(tmp_path, "b")
    first.create('{"rank": 8}')
    assert names(runs_in(tmp_path)) == ["b", "a"]


def test_a_number_is_not_given_twice_after_a_run_is_removed(tmp_path: Path):
    runs = [make_run(tmp_path, name) for name in "abc"]
    runs[0].discard()
    assert not runs[0].folder.exists()
    assert make_run(tmp_path, "d").number == 4


def test_runs_without_a_number_come_last_by_name(tmp_path: Path):
    for name in ("dog_9", "dog_10", "dog"):
        (make_run(tmp_path, name).folder / NUMBER).unlink()
    make_run(tmp_path, "a")
    assert names(runs_in(tmp_path)) == ["a", "dog_10", "dog_9", "dog"]


@pytest.mark.parametrize("content", [b"", b"one", b"-5", b"\xff\xfe", b"1" * 10**6])
def test_a_damaged_number_hinders_no_run(tmp_path: Path, content: bytes):
    damaged = make_run(tmp_path, "a")
    (damaged.folder / NUMBER).write_bytes(content)
    assert make_run(tmp_path, "b").number == damaged.number + 1


def test_runs_are_found_by_what_they_were_made_from(tmp_path: Path):
    for name, key in (("dog", "k"), ("cat", "other"), ("dog_2", "k")):
        keep_fingerprint(make_run(tmp_path, name), key)
    assert names([past.run for past in runs_from(tmp_path, "k", [tmp_path])]) == ["dog_2", "dog"]


def test_only_a_lora_that_is_there_is_one(tmp_path: Path):
    file = tmp_path / "dog.safetensors"
    file.touch()
    lora = make_run(tmp_path, "a", STEP, Finished(9, str(file), "lora", 1.0))
    checkpoint = make_run(tmp_path, "b", STEP, Finished(9, str(file), "checkpoint", 1.0))
    stopped = make_run(tmp_path, "c", STEP, Stopped(3, str(file), "lora", resumable=True))
    for run in (lora, checkpoint, stopped):
        keep_fingerprint(run, "k")
    assert [past_run(run, [tmp_path]).lora for run in (lora, checkpoint, stopped)] == [
        file,
        None,
        file,
    ]
    assert [past_run(run, [tmp_path]).finished_lora for run in (lora, checkpoint, stopped)] == [
        file, None, None,
    ]  # fmt: skip
    assert past_run(checkpoint, [tmp_path]).result == file
    assert lost_results(tmp_path, [tmp_path]) == []
    file.unlink()
    assert past_run(lora, [tmp_path]).lora is None
    assert lost_results(tmp_path, [tmp_path]) == [str(lora.folder), str(checkpoint.folder)]


def test_a_run_that_was_killed_after_it_was_resumed_has_no_end(tmp_path: Path):
    run = make_run(tmp_path, "a", STEP, Stopped(3, "dog", "lora", resumable=True), STEP)
    past = past_run(run, [tmp_path])
    assert (past.end, past.step, past.result_path) == (None, 3, "dog")
    assert past_run(Run(tmp_path / "none"), [tmp_path]).end is None


def test_an_end_is_read_again_when_there_is_more(tmp_path: Path):
    run = make_run(tmp_path, "a", STEP)
    assert past_run(run, [tmp_path]).end is None
    failed = Failed("disk_full", "The disk is full.", "Free space.", "")
    with run.events.open("a", encoding="utf-8") as file:
        file.write(to_line(failed) + "\n")
    assert past_run(run, [tmp_path]).end == failed
