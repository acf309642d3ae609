"""Several concepts in one config: the list, its short form, and what is wrong in which concept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.config.config import Config, read_config_file
from trainer.errors import ConfigError
from trainer.terminal.cli import make_parser, train_values

SHARED = {"base": "a.safetensors", "output": "out.safetensors"}
DOG = {"instance_images": ["dogs"], "instance_prompt": "a photo of sks dog"}
CAT = {"instance_images": ["cats"], "instance_prompt": "a photo of ohwx cat"}


def test_flat_settings_are_one_concept():
    config = Config.from_values(SHARED | DOG | {"class_prompt": "a dog"})
    (concept,) = config.concepts
    assert concept.instance.instance_images == ("dogs",)
    assert concept.prior.class_prompt == "a dog"
    assert "concepts" not in config.to_dict() and "concepts" not in config.flat()


def test_settings_outside_of_the_list_apply_to_every_concept_that_has_none_of_its_own():
    own = {"resolution": 768, "class_prompt": "a cat"}
    config = Config.from_values(
        SHARED | {"resolution": 640, "flip": True, "concepts": [DOG, CAT | own]}
    )
    first, second = config.concepts
    assert (first.instance.resolution, second.instance.resolution) == (640, 768)
    assert first.instance.flip and second.instance.flip
    assert (first.prior.enabled, second.prior.enabled) == (False, True)
    assert config.resolution == 768
    assert config.sample_prompts == ["a photo of sks dog", "a photo of ohwx cat"]


@pytest.mark.parametrize("concepts", [[DOG], [DOG, CAT | {"concept_weight": 3}]])
def test_a_config_is_the_same_after_every_form(concepts, tmp_path):
    config = Config.from_values(SHARED | {"concepts": concepts})
    assert Config.from_json(config.to_json()) == config
    assert Config.from_values(config.flat()) == config
    path = tmp_path / "config.json"
    path.write_text(config.to_json(), "utf-8")
    assert Config.from_values(read_config_file(path)) == config


def test_settings_of_a_concept_may_stand_in_their_groups():
    nested = {"instance": DOG, "prior": {"class_prompt": "a dog"}}
    config = Config.from_dict(SHARED | {"concepts": [nested, CAT]})
    assert config.concepts[0].prior.class_prompt == "a dog"


def test_a_change_of_a_concepts_setting_reaches_every_concept():
    config = Config.from_values(SHARED | {"concepts": [DOG, CAT]})
    changed = config.with_values(resolution=256, rank=4)
    assert [c.instance.resolution for c in changed.concepts] == [256, 256]
    assert changed.trained.rank == 4


def test_every_path_is_changed():
    with_classes = CAT | {"class_prompt": "a cat", "class_images": "classes"}
    config = Config.from_values(SHARED | {"concepts": [DOG, with_classes]})
    changed = config.with_paths(lambda path: f"/x/{path}")
    assert [c.instance.instance_images for c in changed.concepts] == [("/x/dogs",), ("/x/cats",)]
    assert changed.concepts[1].prior.class_images == "/x/classes"
    assert changed.model.base == "/x/a.safetensors"


BAD = {
    "no list": ({"concepts": DOG}, "concepts is not a list"),
    "no objects": ({"concepts": ["dogs"]}, "concepts is not a list of objects"),
    "empty": ({"concepts": []}, "0 concepts"),
    "missing prompt": ({"concepts": [DOG, {"instance_images": ["x"]}]}, "Concept 2: .* missing"),
    "empty prompt": ({"concepts": [DOG, CAT | {"instance_prompt": " "}]}, "Concept 2: .* empty"),
    "unknown name": ({"concepts": [DOG, CAT | {"instanceprompt": "x"}]}, "Concept 2: There is no"),
    "another group's": ({"concepts": [DOG, CAT | {"rank": 8}]}, "no setting 'rank'"),
    "bad value": ({"concepts": [CAT | {"concept_weight": 0}, DOG]}, "Concept 1: concept_weight"),
    "too many": ({"concepts": [DOG] * 101}, "101 concepts"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_says_in_which_concept(kind):
    values, message = BAD[kind]
    with pytest.raises(ConfigError, match=message):
        Config.from_values(SHARED | values)


def test_a_list_in_json_text_is_read_with_its_groups():
    text = json.dumps({"model": {"base": "a"}, "result": {"output": "b.safetensors"},
                       "concepts": [{"instance": DOG}, CAT]})  # fmt: skip
    assert len(Config.from_json(text).concepts) == 2


def values_of(*arguments: str) -> dict[str, object]:
    return train_values(make_parser().parse_args(["train", *arguments]))


def test_the_terminal_takes_one_concept_after_another():
    values = values_of(
        "--base", "a.safetensors", "--output", "out.safetensors", "--resolution", "640",
        "--concept", "instance_images=dogs", "instance_prompt=a photo of sks dog",
        "--concept", "instance_images=cats", "instance_prompt=a = b", "concept_weight=2",
    )  # fmt: skip
    first, second = Config.from_values(values).concepts
    assert first.instance.instance_images == ("dogs",)
    assert (second.instance.instance_prompt, second.instance.concept_weight) == ("a = b", 2)
    assert second.instance.resolution == 640


def test_flags_override_every_concept_of_a_config_file(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(Config.from_values(SHARED | {"concepts": [DOG, CAT]}).to_json(), "utf-8")
    config = Config.from_values(values_of("--config", str(path), "--resolution", "256", "--flip"))
    assert [c.instance.resolution for c in config.concepts] == [256, 256]
    assert [c.instance.instance_images for c in config.concepts] == [("dogs",), ("cats",)]


def test_a_concept_without_an_equals_sign_is_refused():
    with pytest.raises(ConfigError, match="--concept 'dogs' has no '='"):
        values_of("--concept", "dogs")


def test_names_without_folders_are_no_settings_of_another_meaning():
    config = Config.from_values({"base": "/models/embedded", "output": "/x/out.safetensors"} | DOG)
    shown = config.flat_with_paths(lambda path: Path(path).name)
    assert (shown["base"], shown["output"]) == ("embedded", "out.safetensors")
