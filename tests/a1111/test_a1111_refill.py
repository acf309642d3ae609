"""What an earlier run leaves for the form and for the run that continues it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.a1111.test_a1111_parts import ConfigError, form, orders, places, reach
from tests.nodes.test_nodes import pack_module

refill = pack_module("a1111.refill")
page_data = pack_module("a1111.page_data")
events = pack_module("trainer.runs.events")
files = pack_module("trainer.files.atomic")
Config = pack_module("trainer.config.config").Config
Run = pack_module("trainer.runs.run").Run
__all__ = ["places"]  # a fixture


@pytest.fixture
def run(places, photos):
    """A run of the tab, as it is once its worker has begun."""
    given = form(photos, class_prompt="a dog", sample_prompts="a\nb", snr_gamma=0, rank=3)
    job = orders.train_job(given, places)
    run = Run(Path(job.order.run))
    run.create(Config.from_dict(job.order.config).to_json())
    return run


def test_the_form_of_an_earlier_run_trains_the_same_again(places, photos, run):
    contents = refill.run_contents(run, places)
    assert contents["sample_prompts"] == "a\nb" and contents["snr_gamma"] == 0
    assert contents["folder"] == str(photos)
    names = {name: contents.pop(name) for name in ("folder", "base", "name")}
    given = orders.Form((), names["folder"], names["base"], names["name"], contents)
    again = orders.train_job(given, places).order.config
    assert names["name"] == "dog"
    assert again["result"].pop("output").endswith("dog_2.safetensors")
    first = json.loads(run.config.read_text("utf-8"))
    first["result"].pop("output")
    assert again == first


def test_a_run_made_elsewhere_fills_in_only_paths_of_the_host(places, photos, run):
    run.signature.unlink()
    assert refill.run_contents(run, places)["folder"] == ""
    inside = replace(places, others=[photos.parent])
    assert refill.run_contents(run, inside)["folder"] == str(photos)


def test_a_path_that_the_field_may_not_name_is_left_empty(places, run):
    shut = replace(places, reach=reach.Reach(False, None))
    assert refill.run_contents(run, shut)["folder"] == ""


def test_a_run_of_several_subjects_is_no_form(places, run):
    config = Config.from_json(run.config.read_text("utf-8"))
    run.config.write_text(replace(config, concepts=config.concepts * 2).to_json())
    with pytest.raises(ConfigError, match="several subjects"):
        refill.run_contents(run, places)


def test_a_resumed_run_shows_its_losses_and_images_from_the_beginning(places, run):
    sample = events.Sample(2, str(run.samples / "step_000002_0.png"), "a", 1)
    steps = [events.Progress(n, 9, n / 10, n / 10, None, 1e-4, 1, 1, 1) for n in (1, 2)]
    warning = events.Warning("code", "of then", "")
    stopped = events.Stopped(2, "", "", resumable=True)
    lines = [events.to_line(event) + "\n" for event in (*steps, warning, sample, stopped)]
    files.append_lines(run.events, "".join(lines))
    job = orders.resume_job(run, places)
    view = job.view()
    assert job.order.resume
    assert view["losses"] == [(1, 0.1), (2, 0.2)]
    assert [row["prompt"] for row in view["sheet"]] == ["a"]
    assert (view["warnings"], view["end"], view["text"], view["progress"]) == (
        [], None, "Starting …", "",
    )  # fmt: skip


def test_the_page_knows_every_field_and_preset_and_nothing_in_it_is_html():
    text = page_data.page_data()
    assert text.count("<") == 2
    assert "It sets Crop mode none, Steps 1500" in page_data.describe_preset("style")
