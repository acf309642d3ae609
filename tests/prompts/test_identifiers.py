"""Which words are proposed as identifiers, and what a user's own word is to the tokenizer."""

from __future__ import annotations

import pytest

from trainer.errors import ConfigError
from trainer.model_files.families import FAMILIES
from trainer.prompts.identifiers import (
    CANDIDATES,
    check_noun,
    check_word,
    noun_of,
    own_words,
    tokens_text,
)
from trainer.prompts.tokenizer import encode, prompt_ids


def test_every_proposal_is_one_rare_token_of_few_letters_and_the_rarest_come_first():
    ids = [encode(word) for word in CANDIDATES]
    assert all(len(tokens) == 1 and tokens[0] >= 40_000 for tokens in ids)
    assert all(len(word) in (3, 4) and word.isalpha() for word in CANDIDATES)
    assert ids == sorted(ids, reverse=True)
    assert len(set(CANDIDATES)) == len(CANDIDATES)


def test_one_table_is_for_all_text_encoders_which_differ_in_their_padding_alone():
    kinds = {kind.pad_id for family in FAMILIES.values() for kind in family.text_encoders}
    assert len(kinds) == 2
    for word in CANDIDATES:
        first, second = ([i for i in prompt_ids(word, pad) if i][:3] for pad in kinds)
        assert first[:2] == second[:2] == [49406, *encode(word)]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("styn", "one rare token"),
        ("sks", "one rare token"),
        ("red", "one common token"),
        ("xyzzyqu", "splits into 3 tokens"),
        ("s_k", "splits into 3 tokens"),
    ],
)
def test_a_word_is_told_by_its_tokens(word, text):
    assert tokens_text(word) == text


def test_a_word_is_read_as_the_text_encoder_reads_it():
    assert check_word(" SKS ") == "sks"


@pytest.mark.parametrize("word", ["", " ", "sks dog", "<sks>", "(sks)", "sks,", "x" * 200, "\0"])
def test_what_is_not_one_word_is_refused(word):
    with pytest.raises(ConfigError, match=r"not one word|word"):
        check_word(word)


@pytest.mark.parametrize("noun", ["", " ", "...", "dog " * 40])
def test_what_names_no_class_is_refused(noun):
    with pytest.raises(ConfigError, match="class_noun is"):
        check_noun(noun)


@pytest.mark.parametrize(
    ("prompt", "noun"),
    [
        ("a photo of a dog", "dog"),
        ("a photo of an old coffee mug", "old coffee mug"),
        ("photo of woman", "woman"),
        ("dog", "dog"),
        ("A dog", "dog"),
    ],
)
def test_the_class_noun_is_what_a_class_prompt_shows(prompt, noun):
    assert noun_of(prompt) == noun


@pytest.mark.parametrize("prompt", ["", " ", "a photo of a"])
def test_a_class_prompt_without_a_noun_is_refused(prompt):
    with pytest.raises(ConfigError, match="class_prompt is empty"):
        noun_of(prompt)


def test_the_words_of_an_instance_prompt_are_those_that_the_class_prompt_lacks():
    assert own_words("a photo of Fluffy dog", "a photo of a dog") == ["fluffy"]
    assert own_words("a photo of a dog", "a photo of a dog") == []
    assert own_words(f"a photo of {'x' * 300} dog", "a dog") == []
