"""Runs and caches that someone else has filled: nothing outside of them is touched."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.bad_input import refused, time_limit
from tests.helpers.shared_runs import Fault, attack
from tests.nodes.test_nodes import pack_module
from trainer.config.config import Config
from trainer.errors import ConfigError
from trainer.files import own
from trainer.files.atomic import append_lines, remove_leftovers
from trainer.files.lock import Lock
from trainer.files.network import is_network_path, lies_in
from trainer.photos.class_set import class_set, make_missing
from trainer.runs.events import Finished, read_events, to_line
from trainer.runs.history import keep_fingerprint, past_run, runs_from, runs_in
from trainer.runs.orders import Train
from trainer.runs.origin import own_config
from trainer.runs.report import write_report
from trainer.runs.run import Run
from trainer.runs.worker import Worker
from trainer.terminal.cli import main, make_parser, train_config
from trainer.worker.training import checkpoint

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows asks for a privilege to make links")
pytestmark = POSIX
FILES = ("events.jsonl", "worker.log", "lock", "config.json", "inputs.json", "number", "loss.png")
END = Finished(1, "", "", 1.0, time=1.0)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no run may touch."""
    path = tmp_path / "outside" / "rc"
    path.parent.mkdir()
    path.write_text("mine")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "runs" / "dog")
    made.create("{}")
    return made


def linked(path: Path, target: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", FILES)
def test_a_run_with_a_link_is_neither_claimed_nor_started(
    run: Run, outside: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    linked(run.folder / name, outside)
    for opened in (
        run.check_free,
        lambda: run.claim(outside.parent),
        lambda: Worker(Train(str(run.folder), {}, resume=True)),
    ):
        refused(opened, f"{name} is a link")
    run.discard()
    assert outside.read_text() == "mine"
    assert sorted(path.name for path in outside.parent.iterdir()) == ["rc"]


@pytest.mark.parametrize("name", ["checkpoints", "samples", "anything"])
def test_a_run_with_a_linked_folder_is_refused(run: Run, outside: Path, name: str) -> None:
    (run.folder / name).symlink_to(outside.parent)
    refused(run.check_free, f"{name} is a link")


def test_a_run_may_itself_be_reached_through_a_link(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(run.folder.parent)
    (tmp_path / "dog").symlink_to(run.folder)
    for reached in (tmp_path / "other" / "dog", tmp_path / "dog"):
        claimed = Run(reached)
        claimed.claim(tmp_path)
        claimed.lock.release()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    run: Run, name: str, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    (run.folder / name).unlink(missing_ok=True)
    make(run.folder / name)
    refused(lambda: Worker(Train(str(run.folder), {}, resume=True)), f"{name} is a")
    with time_limit():
        past_run(run, [])
        assert run.number in (0, 1)


def test_no_file_of_a_run_is_opened_through_a_link(run: Run, outside: Path) -> None:
    outside.write_text(to_line(END) + "\n")
    linked(run.events, outside)
    refused(lambda: append_lines(run.events, "x\n"), "is a link")
    assert list(read_events(run.events)) == []
    linked(run.lock.path, outside)
    refused(run.lock.take, "is a link")
    linked(run.folder / "number", outside)
    assert run.number == 0
    assert outside.read_text() == to_line(END) + "\n"


def test_a_file_with_a_second_name_is_not_changed(run: Run, outside: Path) -> None:
    os.link(outside, run.events)
    refused(lambda: append_lines(run.events, "x\n"), "second name")
    assert outside.read_text() == "mine"


def test_a_run_whose_files_are_links_is_not_listed(run: Run, outside: Path) -> None:
    outside.write_text('{"fingerprint": "k"}')
    linked(run.config, outside)
    linked(run.inputs, outside)
    assert runs_in(run.folder.parent) == []
    assert runs_from(run.folder.parent, "k", []) == []


def test_leftovers_are_files_with_names_that_we_make(tmp_path: Path, outside: Path) -> None:
    mark = "0123456789ab"
    (tmp_path / "lock").write_text(mark)
    for name in (f".{mark}-x.partial", f".{mark}-1-2.partial"):
        (tmp_path / name).touch()
    (tmp_path / f".{mark}-1.partial").mkdir()
    lock = Lock(tmp_path / "lock")
    assert lock.take()
    before = {path.name for path in tmp_path.iterdir()}
    remove_leftovers(lock, [tmp_path])
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["cache", "cache/latents", "cache/class_images"])
def test_a_cache_with_a_link_is_refused(run: Run, outside: Path, name: str) -> None:
    path = run.folder.parent / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside.parent)
    refused(lambda: run.claim(outside.parent), "is a link")


@pytest.mark.parametrize("depth", range(4))
def test_class_images_are_not_made_behind_a_link(tmp_path: Path, outside: Path, depth: int) -> None:
    images = class_set(tmp_path / "cache", {"seed": 1})
    path = [images.path(0), images.folder, images.folder.parent, tmp_path / "cache"][depth]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside if depth == 0 else outside.parent)
    made: list[object] = []
    with pytest.raises(ConfigError, match="is a link"):
        make_missing(images, 1, check=lambda: None, waiting=made.append, make=made.append)
    assert made == []
    assert [path.name for path in outside.parent.iterdir()] == ["rc"]


@pytest.mark.parametrize("name", ["cache", "cache/bases", "cache/bases/a.safetensors"])
def test_a_patched_base_is_not_exported_behind_a_link(
    tmp_path: Path, outside: Path, name: str
) -> None:
    made = re.compile(r"[a-z]\.safetensors")
    (outside.parent / "b.safetensors").touch()
    link = tmp_path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside if link.suffix else outside.parent)
    path = tmp_path / "cache" / "bases" / "a.safetensors"
    refused(lambda: own.keep_only(tmp_path, path, made), "is a link")
    assert len(list(outside.parent.iterdir())) == 2


def test_of_the_exported_bases_only_our_own_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "bases"
    folder.mkdir(parents=True)
    for name in ("a.safetensors", "b.safetensors", "thesis.safetensors"):
        (folder / name).touch()
    (folder / "c.safetensors").symlink_to(folder / "thesis.safetensors")
    own.keep_only(tmp_path, folder / "a.safetensors", re.compile(r"[a-z]\.safetensors"))
    left = {path.name for path in folder.iterdir()}
    assert left == {"a.safetensors", "c.safetensors", "thesis.safetensors"}


def test_checkpoints_behind_a_link_are_not_removed(run: Run, outside: Path) -> None:
    for step in ("step_000001", "step_000002"):
        (outside.parent / step).mkdir()
    run.checkpoints.symlink_to(outside.parent)
    with pytest.raises(ConfigError, match="checkpoints is a link"):
        checkpoint.prune(run.checkpoints, 1)
    with pytest.raises(ConfigError, match="checkpoints is a link"):
        checkpoint.put_aside(run.checkpoints / "step_000002")
    assert len(list(outside.parent.iterdir())) == 3


def test_only_unfinished_checkpoints_are_removed(run: Run, tmp_path: Path) -> None:
    for name in ("step_000001.partial", "thesis.partial"):
        (run.checkpoints / name).mkdir(parents=True)
    run.claim(tmp_path)
    assert [path.name for path in run.checkpoints.iterdir()] == ["thesis.partial"]


def test_a_report_shows_no_pictures_that_are_links(run: Run, outside: Path) -> None:
    values = {"base": "b", "instance_images": "p", "instance_prompt": "sks"}
    values["output"] = "o.safetensors"
    linked(run.loss_plot, outside)
    write_report(run, Config.from_values(values), END)
    assert "<img" not in run.report.read_text()


def test_pictures_that_are_links_are_none(run: Run, outside: Path) -> None:
    run.samples.mkdir()
    (run.samples / "step_000001_0.png").write_bytes(b"png")
    (run.samples / "step_000002_0.png").symlink_to(outside)
    (run.folder / "compare").symlink_to(outside.parent)
    (outside.parent / "before").mkdir()
    (outside.parent / "before" / "a.png").touch()
    linked(run.loss_plot, outside)
    found = pack_module("a1111.history").pictures(run)
    assert found == {
        "sample": {"step_000001_0": run.samples / "step_000001_0.png"},
        "before": {}, "after": {}, "loss": {},
    }  # fmt: skip


def test_nothing_behind_a_link_is_removed_by_its_name(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "work").symlink_to(outside.parent)
    refused(lambda: own.remove(tmp_path, tmp_path / "work"), "work is a link")
    refused(lambda: own.remove(tmp_path, tmp_path / "work" / "rc"), "work is a link")
    assert outside.exists()


def test_a_link_inside_a_removed_folder_is_not_followed(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(outside.parent)
    own.remove(tmp_path, tmp_path / "work")
    assert outside.exists() and not (tmp_path / "work").exists()


# Paths that a run names

NETWORK = [
    r"\\server\share", "//server/share", r"\/server", r"\\?\UNC\server\share", r"\\.\pipe\x",
    r"\??\UNC\server\share",
]  # fmt: skip


@pytest.mark.parametrize("path", NETWORK)
def test_paths_of_other_machines_are_known(path: str) -> None:
    assert is_network_path(path)


@pytest.mark.parametrize("path", ["", "/", "/home/x", "C:\\x", "a//b", "~", "\\x"])
def test_paths_of_this_machine_are_not_of_others(path: str) -> None:
    assert not is_network_path(path)


def test_where_a_path_lies_is_told_by_its_text(tmp_path: Path) -> None:
    assert lies_in(str(tmp_path / "a" / ".." / "b"), [tmp_path])
    assert not lies_in(str(tmp_path / ".." / "b"), [tmp_path])
    assert not lies_in(f"{tmp_path}2/b", [tmp_path])
    assert not lies_in("//server/share", [tmp_path])


def test_a_result_elsewhere_is_not_even_looked_at(
    run: Run, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_fingerprint(run, "k")
    touched: list[str] = []
    real = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: touched.append(str(path)) or real(path))
    for path in ("//server/share/a.safetensors", str(outside)):
        end = Finished(4, path, "lora", 1.0)
        append_lines(run.events, to_line(end) + "\n")
        (past,) = runs_from(run.folder.parent, "k", [outside.parent / "loras"])
        assert past.result_path == path
        assert past.finished_lora is None
        assert path not in touched
    (past,) = runs_from(run.folder.parent, "k", [outside.parent])
    assert past.finished_lora == outside


def values_of(folder: Path) -> dict[str, object]:
    return {
        "base": "//server/share/base.safetensors", "instance_images": [str(folder / "photos")],
        "instance_prompt": "sks", "output": str(folder / "out.safetensors"),
    }  # fmt: skip


def test_a_run_made_elsewhere_lists_the_paths_it_would_use(run: Run, tmp_path: Path) -> None:
    run.config.write_text(json.dumps(values_of(tmp_path)))
    error = refused(
        lambda: own_config(run, lambda path: path.endswith("photos"), "Move them."),
        "made elsewhere and names these paths: base '//server/.*', output '/",
    )
    assert "photos" not in error.message.partition("paths:")[2]
    assert own_config(run, lambda _: True, "").result.output == str(tmp_path / "out.safetensors")


def test_a_run_made_here_may_name_any_path(run: Run, tmp_path: Path) -> None:
    run.create(json.dumps(values_of(tmp_path)))
    assert own_config(run, lambda _: False, "").model.base == "//server/share/base.safetensors"
    moved = Run(tmp_path / "moved")
    run.folder.rename(moved.folder)
    assert own_config(moved, lambda _: False, "")


@pytest.mark.parametrize("change", ["config", "signature", "link"])
def test_a_signature_counts_for_the_config_that_was_signed(
    run: Run, tmp_path: Path, change: str
) -> None:
    run.create(json.dumps(values_of(tmp_path)))
    assert run.is_ours
    if change == "config":
        run.config.write_text(json.dumps(values_of(tmp_path / "other")))
    elif change == "signature":
        run.signature.write_text("0" * 64)
    else:
        run.signature.rename(tmp_path / "signature")
        run.signature.symlink_to(tmp_path / "signature")
    assert not run.is_ours


def test_the_terminal_asks_for_the_paths_of_a_run_made_elsewhere(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.config.write_text(json.dumps(values_of(tmp_path)))
    resume = ["train", "--resume", "--run", str(run.folder)]
    assert main(resume) == 2
    told = capsys.readouterr().err
    assert "made elsewhere" in told and "--base PATH" in told and "//server/share" in told
    given = [
        "--base",
        str(tmp_path / "none.safetensors"),
        "--set",
        f"output={tmp_path}/out.safetensors",
    ]
    assert main([*resume, *given]) == 2
    told = capsys.readouterr().err
    assert "instance_images" in told and "none.safetensors" not in told
    photos = ["--instance-images", str(tmp_path / "photos")]
    assert train_config(make_parser().parse_args([*resume, *given, *photos]))


def test_the_tab_resumes_a_run_made_elsewhere_only_within_the_host(
    run: Run, tmp_path: Path
) -> None:
    orders = pack_module("a1111.orders")
    values = values_of(tmp_path / "runs") | {"base": "/models/sd15.safetensors"}
    values["output"] = str(tmp_path / "loras" / "dog.safetensors")
    run.config.write_text(json.dumps(values))
    listed = {"sd15": "/models/sd15.safetensors"}
    places = orders.Places(
        tmp_path / "runs", tmp_path / "loras", listed, pack_module("a1111.reach").Reach(True, None)
    )
    assert orders.resume_job(run, places).order.resume
    for elsewhere in (
        {"output": str(tmp_path / "x.safetensors")},
        {"vae": "//server/v"},
        {"base": "/b"},
    ):
        run.config.write_text(json.dumps(values | elsewhere))
        with pytest.raises(pack_module("trainer.errors").ConfigError, match="made elsewhere"):
            orders.resume_job(run, places)
        with pytest.raises(pack_module("trainer.errors").ConfigError, match="made elsewhere"):
            orders.compare_job(run, tmp_path / "x", places)


# All of it at random


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_whatever_a_shared_run_holds_nothing_else_changes(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 10):
        attack(seed, tmp_path / str(seed))


def test_the_random_runs_notice_a_link_that_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "check_entry", lambda path, status: None)
    monkeypatch.setattr(own, "NO_FOLLOW", 0)
    with pytest.raises((Fault, AssertionError, OSError)):
        for seed in range(40):
            attack(seed, tmp_path / str(seed))
