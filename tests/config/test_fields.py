"""How settings look in forms, the same in every user interface."""

from __future__ import annotations

import pytest

from trainer.config.config import all_settings
from trainer.config.fields import (
    NOT_A_NUMBER,
    field_default,
    field_help,
    field_minimum,
    from_field,
    to_field,
)
from trainer.config.settings import check_value, parse_value
from trainer.errors import ConfigError

SETTINGS = {spec.name: spec for _, spec in all_settings()}
WITH_DEFAULT = [spec for spec in SETTINGS.values() if not spec.required]
OPTIONAL_NUMBERS = [s for s in SETTINGS.values() if s.optional and s.type in (int, float)]


@pytest.mark.parametrize("spec", WITH_DEFAULT, ids=lambda spec: spec.name)
def test_a_field_that_nobody_touched_holds_the_default(spec):
    assert from_field(spec, field_default(spec)) == spec.default


@pytest.mark.parametrize("spec", OPTIONAL_NUMBERS, ids=lambda spec: spec.name)
def test_0_in_a_field_is_free_to_mean_none(spec):
    with pytest.raises(ConfigError, match=spec.name):
        check_value(spec, spec.type(0))
    assert field_minimum(spec) == 0
    assert field_help(spec).endswith(f"0: {spec.none}.")


@pytest.mark.parametrize(
    ("name", "value", "content"),
    [
        ("alpha", None, 0),
        ("alpha", 8.0, 8.0),
        ("noise_offset", 0.0, 0.0),
        ("sample_prompts", ("a dog", "a cat"), "a dog\na cat"),
        ("vae", None, ""),
        ("crop_mode", "none", "none"),
        ("flip", False, False),
    ],
)
def test_values_and_fields_are_translated_both_ways(name, value, content):
    assert to_field(SETTINGS[name], value) == content
    assert from_field(SETTINGS[name], content) == value


def test_blanks_around_texts_and_empty_lines_are_dropped():
    assert from_field(SETTINGS["sample_prompts"], " a \n\nb\n") == ("a", "b")
    assert from_field(SETTINGS["class_prompt"], " a photo of a dog ") == "a photo of a dog"
    assert from_field(SETTINGS["vae"], "  ") is None


def test_bounds_that_a_field_shows_are_the_settings_own():
    assert field_minimum(SETTINGS["rank"]) == 1
    assert field_minimum(SETTINGS["learning_rate"]) == 0  # the setting itself excludes it
    assert field_help(SETTINGS["sample_prompts"]).endswith("One per line.")
    assert field_help(SETTINGS["rank"]) == SETTINGS["rank"].help


@pytest.mark.parametrize("name", ["rank", "alpha", "learning_rate", "sample_every"])
def test_an_empty_number_field_is_refused_where_it_is_used_and_never_taken_for_none(name):
    with pytest.raises(ConfigError, match=f"{name} is '{NOT_A_NUMBER}'. Give a"):
        parse_value(SETTINGS[name], from_field(SETTINGS[name], None))
