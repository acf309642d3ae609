"""What is seen of a run after its events, and the words for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.runs.events import (
    Failed,
    Finished,
    Progress,
    Rating,
    Sample,
    Started,
    Status,
    Stopped,
    Warning,
)
from trainer.runs.view import View
from trainer.runs.wording import clock, end_text, progress_text, rate_text, rating_text, status_text

STEP = Progress(1, 4, 0.5, 0.25, 0.125, 1e-4, 2.0, 62.0, 3.25)
STARTED = Started("r", "sd1", "cpu", "float32", 3, 0, 0, 4, 5, {"weights": 1})
STOPPED = Stopped(2, "loras/dog-step2.safetensors", "lora", resumable=True)


def test_a_view_begins_with_nothing():
    view = View()
    assert (view.stage, view.line, view.done, view.total) == ("Starting", "Starting", 0, 0)
    assert view.points("loss") == []


def test_the_stage_is_what_was_reported_last():
    view = View.of([Status("class_images", 3, 8)])
    assert (view.stage, view.line) == ("Class images", "Class images 3/8")
    assert (view.done, view.total) == (3, 8)
    view.hear(STEP)
    assert (view.stage, view.done, view.total) == ("Training", 1, 4)
    assert view.line.startswith("Step 1/4, loss 0.5000")
    view.hear(Status("saving"))
    assert (view.line, view.total) == ("Saving", 0)
    assert view.progress == STEP


def test_the_last_report_of_a_repeated_step_counts():
    again = replace(STEP, step=2, loss=0.75, prior_loss=None)
    view = View.of([STEP, replace(STEP, step=2), replace(STEP, step=3), STARTED, again])
    assert view.points("loss") == [(1, 0.5), (2, 0.75), (3, 0.5)]
    assert view.points("instance_loss") == [(1, 0.25), (2, 0.25), (3, 0.25)]
    assert view.points("prior_loss") == [(1, 0.125), (3, 0.125)]
    assert view.progress == again


def test_samples_and_warnings_are_there_once():
    samples = [Sample(2, "a.png", "p", 1), Sample(4, "b.png", "p", 1), Sample(2, "a.png", "q", 1)]
    warning = Warning("small", "It is small.", "Take another.")
    view = View.of([*samples, warning, replace(warning, time=1.0)])
    assert [sample.prompt for sample in view.samples.values()] == ["q", "p"]
    assert list(view.warnings) == ["It is small."]


def test_a_resumed_run_has_no_end_until_it_ends_again():
    view = View.of([STARTED, STEP, STOPPED])
    assert view.end == STOPPED
    view.hear(STARTED)
    assert (view.end, view.result, len(view.starts)) == (None, STOPPED, 2)
    view.hear(Failed("internal", "m", "h", ""))
    assert isinstance(view.end, Failed) and view.result == STOPPED


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            Finished(4, "loras/dog.safetensors", "lora", 62),
            "Finished in 0:01:02. LoRA: dog.safetensors",
        ),
        (
            Finished(4, "models/dog.safetensors", "checkpoint", 1),
            "Finished in 0:00:01. Checkpoint: dog.safetensors",
        ),
        (Finished(0, "", "", 3723), "Finished in 1:02:03."),
        (STOPPED, "Stopped at step 2. LoRA so far: dog-step2.safetensors. Try again."),
        (Stopped(0, "", "", resumable=False), "Stopped."),
        (
            Failed("disk_full", "The disk is full.", "Free space.", "w.log"),
            "The disk is full. Free space. Log: w.log",
        ),
    ],
)
def test_ends_are_told_with_their_results(event, text):
    assert end_text(event, resume="Try again.") == text


def test_a_path_is_shown_where_that_is_asked_for():
    text = end_text(STOPPED, resume="", full_path=True)
    assert text == "Stopped at step 2. LoRA so far: loras/dog-step2.safetensors."


def test_progress_in_words():
    assert progress_text(STEP) == (
        "Step 1/4, loss 0.5000 (instance 0.2500, class 0.1250), 2.00 steps/s, ETA 0:01:02, "
        "peak memory 3.2 GiB"
    )
    assert "instance" not in progress_text(replace(STEP, prior_loss=None))
    assert rate_text(0.25) == "4.00 s/step"
    assert rate_text(0).endswith("s/step")
    assert clock(3600 * 30 + 5) == "30:00:05"
    assert status_text(Status("loading", message="Loading the VAE")) == "Loading the VAE"


def test_ratings_of_words_are_kept_in_their_order():
    weak = Rating("styn", "one rare token", 0.234, weak=True, own=False)
    strong = Rating("fluffy", "splits into 2 tokens", 1.5, weak=False, own=True)
    assert View.of([strong, weak]).ratings == [strong, weak]
    assert rating_text(weak) == "styn: one rare token, weak prior (23%)"
    assert rating_text(strong) == "fluffy: splits into 2 tokens, strong prior (150%)"
