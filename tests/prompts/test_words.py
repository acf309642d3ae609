"""Words of prompts: what names a subject, what was trained, and what hosts read as syntax."""

from __future__ import annotations

import time

import pytest

from trainer.prompts.words import (
    escaped,
    host_syntax,
    naming_words,
    rare_words,
    tags_of,
    trigger_phrase,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a photo of sks dog, on grass: 5.5 m & more!", []),
        ("rock and roll, a breakdance", []),
        (r"sks \(character\)", [r"\(", r"\)"]),
        ("a (word:1.2) b", ["(word:1.2)"]),
        ("a (word) b", ["(word)"]),
        ("a dog BREAK a cat", ["BREAK"]),
        ("a dog AND a cat", ["AND"]),
        ("sks dog <lora:x:1>", ["<lora:x:1>"]),
        ("[a|b] and [c:d:0.5]", ["[a|b]", "[c:d:0.5]"]),
        ("a {red|blue} dog", ["{red|blue}"]),
        ("embedding:easynegative, __animals__", ["embedding:easynegative,", "__animals__"]),
    ],
)
def test_what_hosts_read_as_syntax_is_found(text: str, found: list[str]):
    assert host_syntax(text) == found


@pytest.mark.parametrize(
    ("text", "wanted", "left_out"),
    [
        ("a photo of sks dog", "a photo of sks dog", []),
        (r"sks \(dog\) [x]", r"sks \\\(dog\\\) \[x\]", []),
        ("sks BREAK dog <lora:x:1>", "sks dog", ["BREAK", "<lora:x:1>"]),
    ],
)
def test_a_prompt_is_written_so_that_hosts_read_plain_text(text, wanted, left_out):
    assert escaped(text) == (wanted, left_out)


def test_rare_words_are_single_rare_tokens():
    assert rare_words("a photo of sks dog, ohwx teapot and a schnauzer") == ["sks", "ohwx"]


@pytest.mark.parametrize(
    ("instance", "kind", "naming"),
    [
        ("a photo of sks dog", "a photo of a dog", ["sks"]),
        ("a photo of sks dog", "", ["sks"]),
        ("a photo of Fluffy the dog", "a dog", ["fluffy"]),
        ("a photo of a dog", "a dog", []),
    ],
)
def test_the_words_that_tell_a_subject_from_its_class(instance, kind, naming):
    assert naming_words(instance, kind) == naming


@pytest.mark.parametrize(
    ("captions", "trigger"),
    [
        (["a photo of sks dog", "sks dog on grass"], "a photo of sks dog"),
        (["sks dog, on grass", "a sleeping SKS dog."], "sks dog"),
        (["a brown dog on grass", "the brown dog, asleep", "my brown dog"], "brown dog"),
        (["a dog", "a cat"], ""),
        (["sks dog, outdoors, solo"], "sks dog, outdoors, solo"),
        ([], "a photo of sks dog"),
    ],
)
def test_the_trigger_is_what_was_trained(captions: list[str], trigger: str):
    assert trigger_phrase("a photo of sks dog", captions) == trigger


def test_long_captions_are_compared_in_reasonable_time():
    captions = [f"start {n} " + "dog " * 2000 + f"sks {n}" for n in range(300)]
    start = time.perf_counter()
    assert trigger_phrase("x", captions) == " ".join(["dog"] * 75)
    assert time.perf_counter() - start < 10


def test_tags_are_counted_between_commas():
    assert tags_of(["sks dog, solo", "sks dog,  grass,"]) == {"sks dog": 2, "solo": 1, "grass": 1}
