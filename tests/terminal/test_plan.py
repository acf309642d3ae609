"""`plan`: what a training will need, said without loading or training anything."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch

from tests.conftest import CLASS_PROMPT, ConfigMaker
from tests.worker.base.test_models import save_folder
from trainer.config.config import Config
from trainer.environment.environment import worker_env
from trainer.terminal import cli
from trainer.terminal.cli import train_values
from trainer.terminal.plan_command import describe_plan, with_planned_base
from trainer.worker.base.models import with_resolution
from trainer.worker.memory.costs import sizes
from trainer.worker.memory.need import Machine
from trainer.worker.memory.plan import (
    card,
    changes_that_help,
    make_plan,
    to_document,
    training_bytes,
)

ENOUGH = Machine("cuda", torch.bfloat16, 10**12)


def changed(config: Config, **values: object) -> Config:
    return Config.from_values(config.flat() | values)


def test_every_phase_is_planned(make_config: ConfigMaker) -> None:
    plan = make_plan(make_config(class_prompt=CLASS_PROMPT), ENOUGH)
    phases = {"text encoding", "caching", "class images", "training", "sampling"}
    assert set(plan.phases) == phases
    assert plan.fits and not plan.changes
    assert all(sum(items.values()) > 0 for items in plan.phases.values())
    assert "class images" not in make_plan(make_config(), ENOUGH).phases


def test_the_unet_that_drew_class_images_makes_room_for_encoding_photos(
    make_config: ConfigMaker,
) -> None:
    config = make_config(class_prompt=CLASS_PROMPT)
    needed = make_plan(config, ENOUGH).phases["caching"]
    total = sum(needed.values())
    for free, stays in ((total, True), (total - 9, False)):
        machine = Machine("cuda", torch.bfloat16, math.ceil(free / 0.85))
        found = make_plan(config, machine).phases["caching"]
        assert (found == needed) is stays
        assert sum(found.values()) <= machine.usable_bytes


def test_the_work_is_counted(make_config: ConfigMaker) -> None:
    config = make_config(class_prompt=CLASS_PROMPT, num_class_images=7)
    work = make_plan(config, ENOUGH).work
    assert (work.num_photos, work.num_class_images, work.num_steps) == (3, 7, 4)
    twice = make_plan(changed(config, gradient_accumulation_steps=2), ENOUGH).work
    assert twice.tera_flop_per_step == pytest.approx(2 * work.tera_flop_per_step)
    assert 4 * work.tera_flop_per_step < work.tera_flop_total


def test_what_helps_is_named_with_the_least_harmful_first(make_config: ConfigMaker) -> None:
    config = make_config(
        class_prompt=CLASS_PROMPT, train_batch_size=4, rank=64, train_text_encoder=True,
        resolution=512, gradient_checkpointing="off",
    )  # fmt: skip
    short = Machine("cuda", torch.float32, 0)
    changes = changes_that_help(config, short, training_bytes)
    assert [change.setting for change in changes] == [
        "gradient_checkpointing on",
        "mixed_precision bf16",
        "base_precision fp8",
        "train_text_encoder False",
        "rank 16",
        "resolution 384",
        "resolution 256",
    ]
    totals = [change.total_bytes for change in changes]
    assert totals == sorted(totals, reverse=True)
    assert all(change.saved_bytes > 0 for change in changes)
    text = describe_plan(to_document(make_plan(config, short)), "a toaster")
    assert "does not fit a toaster" in text and "Even so, it does not fit" in text


@pytest.mark.parametrize("method", ["lora", "full"])
def test_settings_that_depend_on_a_change_are_changed_with_it(
    make_config: ConfigMaker, method: str
) -> None:
    config = make_config(
        method=method, train_text_encoder=True, text_encoder_learning_rate=1e-5,
        text_encoder_train_steps=2,
    )  # fmt: skip
    short = Machine("cuda", torch.float32, 0)
    changes = changes_that_help(config, short, training_bytes)
    found = [change.setting for change in changes]
    frozen = "train_text_encoder False, text_encoder_learning_rate None"
    assert any(setting.startswith(frozen) for setting in found)
    assert not any("rank" in setting for setting in found if method == "full")


def test_changes_end_where_the_plan_fits(make_config: ConfigMaker) -> None:
    config = make_config(train_batch_size=4, resolution=1024, gradient_checkpointing="on")
    first = make_plan(config, Machine("cuda", torch.float32, 0)).changes[0]
    plan = make_plan(config, Machine("cuda", torch.float32, round(first.total_bytes / 0.85) + 9))
    assert [change.setting for change in plan.changes] == [first.setting]
    text = describe_plan(to_document(plan), "a card with 1 GB")
    assert "does not fit a card with 1 GB" in text and "Even so" not in text
    flag = f"--{first.setting.replace('_', '-')}"
    assert f"To make it fit, add: {flag}\n" in text


@pytest.mark.parametrize("place", range(3))
def test_the_flags_that_a_plan_names_make_it_fit(make_config: ConfigMaker, place: int) -> None:
    settings = {"train_batch_size": 4, "rank": 64, "train_text_encoder": True, "resolution": 512}
    config = make_config(**settings, gradient_checkpointing="on")
    change = make_plan(config, Machine("cuda", torch.float32, 0)).changes[place]
    machine = Machine("cuda", torch.float32, round(change.total_bytes / 0.85) + 9)
    text = describe_plan(to_document(make_plan(config, machine)), "")
    (added,) = (line.partition("add: ")[2] for line in text.splitlines() if "add: " in line)
    values = train_values(cli.make_parser().parse_args(["train", *added.split()]))
    dtype = torch.bfloat16 if "mixed_precision" in values else torch.float32
    assert make_plan(changed(config, **values), replace(machine, dtype=dtype)).fits


def test_another_cards_memory_is_planned_for() -> None:
    machine = card("auto", 8)
    assert (machine.device, machine.dtype) == ("cuda", torch.bfloat16)
    assert 7 * 2**30 < machine.free_bytes < 8 * 2**30


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_a_folder_is_planned_as_the_single_file(
    make_config: ConfigMaker, tmp_path: Path, family: str
) -> None:
    config = make_config(family, train_text_encoder=True)
    folder = save_folder(Path(config.model.base), tmp_path / "folder")
    file, other = (make_plan(c, ENOUGH) for c in (config, changed(config, base=str(folder))))
    assert file.phases == other.phases


def test_plan_loads_no_weights_and_writes_nothing(
    make_config: ConfigMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = make_config()
    (tmp_path / "config.json").write_text(config.to_json())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trainer.worker.base.weights.safe_open", None)
    before = set(tmp_path.rglob("*"))
    assert cli.main(["plan", "--config", "config.json", "--memory", "8"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("This training fits a card with 8 GB: it needs ")
    assert "in float32" in out and "4 steps on 3 photos" in out
    assert cli.main(["plan", "--config", "config.json", "--memory", "0"]) == 2
    assert set(tmp_path.rglob("*")) == before


PUBLISHED = {"sd15": (859_520_964, 512), "sd2": (865_910_724, 768), "sdxl": (2_567_463_684, 1024)}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_model_needs_no_file_or_photos(kind: str) -> None:
    parameters, side = PUBLISHED[kind]
    with with_planned_base(kind, {}) as values:
        config = with_resolution(Config.from_values(values))
        assert sizes(config.model, torch.bfloat16).unet == 2 * parameters
        assert config.resolution == side


@pytest.mark.slow
def test_a_published_model_is_planned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plan", "--kind", "sd15", "--memory", "24", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["phases"]["training"]["weights"] == 2 * PUBLISHED["sd15"][0]
    assert plan["fits"] and list(tmp_path.iterdir()) == []


def test_a_plan_needs_a_model_and_only_one(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, message in (([], "no model to plan"), (["--kind", "sd2", "--base", "b"], "both")):
        assert cli.main(["plan", *flags]) == 2
        assert message in capsys.readouterr().err


def test_a_terminal_shows_what_is_planned_and_then_only_the_plan(
    make_config: ConfigMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    (tmp_path / "config.json").write_text(make_config().to_json())
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    assert cli.main(["plan", "--config", str(tmp_path / "config.json"), "--memory", "8"]) == 0
    states = terminal.getvalue().split("\r\x1b[2K")
    assert "Planning: a training step …" in states and len(states) > 5
    assert states[-1] == "" and "\n" not in terminal.getvalue()


def test_plan_speaks_json(make_config: ConfigMaker, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(make_config().to_json())
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "plan", "--config", "config.json", "--json"],
        cwd=tmp_path, env=worker_env(), capture_output=True, encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["fits"] and plan["peak_bytes"] > 0 and plan["device"]
    assert plan["phases"]["training"]["trained"] > 0
