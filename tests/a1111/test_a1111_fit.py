"""The prediction of memory beside Train, and messages in the words of the form."""

from __future__ import annotations

import json

import pytest

from tests.a1111.test_a1111_parts import ConfigError, fields, form, orders, places, this_python
from tests.nodes.test_nodes import pack_module

fit = pack_module("a1111.fit")
page_data = pack_module("a1111.page_data")
settings_file = pack_module("a1111.settings_file")
report_page = pack_module("a1111.report_page")
Run = pack_module("trainer.runs.run").Run
__all__ = ["places", "this_python"]  # fixtures
GIB = 1024**3


@pytest.mark.parametrize(
    ("gib", "begin", "then"),
    [
        (24, "Fits your GPU: about ", " of "),
        pytest.param(0.6, "Does not fit your GPU: about ", "No setting", marks=pytest.mark.slow),
    ],
)
def test_the_plan_says_whether_a_training_fits(places, photos, gib, begin, then):
    config = orders.train_config(form(photos, max_train_steps=3), places)
    text = fit.fit_text(config, gib)
    assert text.startswith(begin) and then in text, text
    assert not places.runs.exists()


def test_what_would_make_it_fit_is_told_in_the_words_of_the_form():
    change = {"setting": "gradient_checkpointing on", "cost": "slower", "total_bytes": 5 * GIB}
    plan = {"device": "cpu", "peak_bytes": 8 * GIB, "usable_bytes": 6 * GIB, "fits": False}
    assert fit.sentence({**plan, "changes": [change]}) == (
        "Does not fit this computer's memory: about 8.0 of 6.0 GiB. "
        "It would with “Gradient checkpointing” on (slower)."
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("max_train_steps is 5.5. Give a whole number.", "“Steps” is 5.5. Give a whole number."),
        ("rank is 0. The rank counts.", "“LoRA rank” is 0. The rank counts."),
        ("Set snr_gamma, or lower_case.", "Set “Min-SNR gamma”, or lower_case."),
        ("Lower learning_rate.", "Lower “Learning rate”."),
        ("vae '/x' is outside", "“VAE file” '/x' is outside"),
        ("is missing. Give --max-train-steps: Steps", "is missing. Give “Steps”: Steps"),
        ("With --hide-ui-dir-config or --seed.", "With --hide-ui-dir-config or “Seed”."),
        ("No folder '/a/max_train_steps/b'.", "No folder '/a/max_train_steps/b'."),
        ("a max_train_steps.txt, 'max_train_steps'", "a max_train_steps.txt, 'max_train_steps'"),
    ],
)  # fmt: skip
def test_messages_name_fields_by_their_labels(text, shown):
    assert fields.labelled(text) == shown
    assert page_data.problem("rank is <b>") == (
        "<p class='dreambooth-problem'>“LoRA rank” is &lt;b&gt;</p>"
    )


def test_settings_are_the_same_after_saving_and_loading(places):
    given = {**form("", rank=3, snr_gamma=0, sample_prompts="a\nb").values, "base": "tiny"}
    text = settings_file.file_text(given)
    assert json.loads(text)["sample_prompts"] == ["a", "b"]
    assert json.loads(text)["snr_gamma"] is None
    assert settings_file.file_contents(text, places) == given


def test_a_runs_config_is_loaded_without_its_photos_name_and_others_files(places, photos):
    config = orders.train_config(form(photos, rank=3, vae=str(photos)), places)
    found = settings_file.file_contents(config.to_json(), places)
    assert (found["rank"], found["vae"]) == (3, "")
    assert not {"folder", "name", "uploads"} & set(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a JSON object"),
        ('{"rnak": 3}', "no setting 'rnak'"),
        ('{"rank": "many"}', "rank is 'many'"),
        ('{"rank": [1]}', "rank is"),
        ('{"method": "magic"}', "method is 'magic'"),
        ('{"concepts": [{}, {}]}', "several subjects"),
        (" " * 2_000_000, "too large"),
    ],
)
def test_a_file_that_holds_no_settings_of_the_form_is_refused(places, text, message):
    with pytest.raises(ConfigError, match=message):
        settings_file.file_contents(text, places)


def test_a_number_that_is_missing_is_not_saved_as_none(places):
    with pytest.raises(ConfigError, match="max_train_steps is"):
        settings_file.file_text({"max_train_steps": None})


def test_a_report_shows_the_images_by_the_tabs_routes_and_runs_nothing(tmp_path):
    run = Run(tmp_path / "dog")
    run.create("{}")
    run.report.write_text('<img src="samples/step_000002_0.png"><img src="loss.png"><img src="x">')
    page = report_page.report_page(run, "k&y")
    assert page == (
        '<img src="sample/step_000002_0?key=k%26y"><img src="loss/loss?key=k%26y"><img src="x">'
    )
    assert "default-src 'none'" in report_page.HEADERS["Content-Security-Policy"]


def test_a_report_that_was_made_elsewhere_is_not_shown(tmp_path):
    run = Run(tmp_path / "dog")
    run.create("{}")
    with pytest.raises(ConfigError, match="no report"):
        report_page.report_page(run, "")
    run.report.write_text("<script>")
    run.config.write_text('{"rank": 4}')
    assert not report_page.has_report(run)
    with pytest.raises(ConfigError, match="no report"):
        report_page.report_page(run, "")
