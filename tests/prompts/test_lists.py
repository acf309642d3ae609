"""Prompts for trying out: the lists, and the subject that is filled in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.config.test_config import REQUIRED
from tests.helpers.model_files import kohya_lora, write_model
from tests.nodes.test_nodes import ConfigError as NodeError
from tests.nodes.test_nodes import pack_module
from tests.nodes.test_nodes import prompts as node_prompts
from trainer.config.config import Config
from trainer.errors import ConfigError
from trainer.prompts.lists import PROMPT_LISTS, SUBJECT, filled, trained_prompt
from trainer.prompts.tokenizer import token_count
from trainer.prompts.words import host_syntax
from trainer.terminal.cli import make_parser
from trainer.terminal.draw_commands import sample_prompts

fields = pack_module("a1111.fields")
CONCEPTS = [
    {"instance_images": ["dogs"], "instance_prompt": "a photo of sks dog"},
    {"instance_images": ["cats"], "instance_prompt": "a photo of ohwx cat"},
]


def test_there_is_a_list_for_each_thing_to_try():
    assert list(PROMPT_LISTS) == [
        "recontextualisation", "art", "views", "accessories", "properties", "expressions",
    ]  # fmt: skip


@pytest.mark.parametrize("name", PROMPT_LISTS)
def test_a_list_names_the_subject_once_in_each_of_its_prompts(name):
    prompts = PROMPT_LISTS[name]
    assert len(set(prompts)) == len(prompts) >= 7
    for prompt in prompts:
        assert prompt.count(SUBJECT) == 1
        assert token_count(prompt) < 40
        assert not host_syntax(prompt)


def test_samples_of_a_training_show_each_subject_in_its_own_prompt():
    values = {k: v for k, v in REQUIRED.items() if not k.startswith("instance")}
    config = Config.from_values(
        {**values, "concepts": CONCEPTS, "sample_prompts": ["{subject} in snow", "a dog"]}
    )
    assert config.sample_prompts == ["sks dog in snow", "ohwx cat in snow", "a dog"]
    assert Config.from_values(REQUIRED).sample_prompts == ["a photo of sks dog"]


def test_a_subject_is_what_follows_of():
    assert filled(["{subject}!"], ["a photo of sks dog", "sks dog", "ohwx"]) == [
        "sks dog!",
        "ohwx!",
    ]


@pytest.mark.parametrize(
    ("metadata", "prompt"),
    [
        ({}, None), ({"dreambooth_triggers": "["}, None), ({"dreambooth_triggers": "[]"}, None),
        ({"dreambooth_triggers": '["a photo of sks dog", "b"]'}, "a photo of sks dog"),
        ({"dreambooth_triggers": "[1]"}, ""),
    ],
)  # fmt: skip
def test_a_file_tells_its_subject(metadata, prompt):
    assert trained_prompt(metadata) == prompt


def asked(*arguments: str) -> list[str]:
    options = make_parser().parse_args(["sample", "--base", "a.safetensors", *arguments])
    return sample_prompts(options)


def test_sample_fills_in_what_the_lora_trained_or_the_given_subject(tmp_path: Path):
    triggers = json.dumps(["a photo of sks dog"])
    lora = write_model(
        tmp_path / "a.safetensors", kohya_lora(768), metadata={"dreambooth_triggers": triggers}
    )
    views = asked("--prompts-list", "views", "--lora", str(lora))
    assert views[0] == "a photo of sks dog seen from the front"
    assert len(views) == len(PROMPT_LISTS["views"])
    own = asked("--prompt", "x", "--prompts-list", "art", "--lora", str(lora), "--subject", "a cat")
    assert own[:2] == ["x", "an oil painting of a cat"]
    assert asked("--prompt", "a dog") == ["a dog"]


def test_sample_without_prompts_or_subject_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no prompt. Give --prompt or --prompts-list"):
        asked()
    with pytest.raises(ConfigError, match="no words for it are known. Give --subject"):
        asked("--prompts-list", "art")
    lora = write_model(tmp_path / "other.safetensors", kohya_lora(768))
    with pytest.raises(ConfigError, match="Give --subject"):
        asked("--prompts-list", "art", "--lora", str(lora))


def test_the_node_uses_a_list_instead_of_its_own_prompts():
    assert node_prompts.listed_prompts("own prompts", "a\nb") == "a\nb"
    lines = node_prompts.listed_prompts("views", "a\nb").splitlines()
    assert tuple(lines) == PROMPT_LISTS["views"]
    with pytest.raises(NodeError, match="prompt_list is 'nonsense'. Give one of own prompts, rec"):
        node_prompts.listed_prompts("nonsense", "")


def test_the_tab_fills_the_field_of_sample_prompts():
    listed = fields.listed_prompts()
    assert listed.keys() == PROMPT_LISTS.keys()
    assert listed["art"].splitlines() == list(PROMPT_LISTS["art"])
