"""Other trainers' folders and lists are read as what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.photos.test_leftovers import photo
from trainer.config.config import Config
from trainer.errors import ConfigError
from trainer.terminal.cli import make_parser, train_values

OTHERS = ("--base", "a.safetensors", "--output", "out.safetensors")


def config_of(*arguments: object) -> Config:
    texts = ["train", *OTHERS, *map(str, arguments)]
    return Config.from_values(train_values(make_parser().parse_args(texts)))


def concepts_of(config: Config) -> list[tuple[Any, ...]]:
    return [
        (Path(one.instance.instance_images[0]).name, one.instance.instance_prompt,
         one.instance.concept_weight)
        for one in config.concepts
    ]  # fmt: skip


def fill(folder: Path, number: int) -> Path:
    for index in range(number):
        photo(folder / f"{index}.png")
    return folder


def test_one_group_gives_its_photos_and_its_prompt(tmp_path: Path):
    fill(tmp_path / "photos" / "10_sks dog", 3)
    config = config_of("--instance-images", tmp_path / "photos")
    assert concepts_of(config) == [("10_sks dog", "sks dog", 1)]
    own = config_of("--instance-images", tmp_path / "photos", "--instance-prompt", "a sks dog")
    assert concepts_of(own) == [("10_sks dog", "a sks dog", 1)]
    inner = config_of("--instance-images", tmp_path / "photos" / "10_sks dog")
    assert concepts_of(inner) == [("10_sks dog", "sks dog", 1)]


def test_several_groups_are_concepts_whose_turns_are_their_share_of_an_epoch(tmp_path: Path):
    fill(tmp_path / "10_sks dog", 3)
    fill(tmp_path / "5_ohwx cat", 4)
    fill(tmp_path / "0_none", 1)
    fill(tmp_path / "log", 1)
    (tmp_path / "7_empty").mkdir()
    config = config_of("--instance-images", tmp_path, "--resolution", 640)
    assert concepts_of(config) == [("5_ohwx cat", "ohwx cat", 2), ("10_sks dog", "sks dog", 3)]
    assert config.resolution == 640
    listed = config_of("--instance-images", tmp_path / "10_sks dog", tmp_path / "5_ohwx cat")
    assert concepts_of(listed) == [("10_sks dog", "sks dog", 3), ("5_ohwx cat", "ohwx cat", 2)]


def test_two_groups_of_one_subject_share_its_prompt(tmp_path: Path):
    fill(tmp_path / "2_sks dog", 2)
    fill(tmp_path / "20_sks dog", 1)
    config = config_of("--instance-images", tmp_path, "--instance-prompt", "a photo of sks dog")
    assert [one[1:] for one in concepts_of(config)] == [
        ("a photo of sks dog", 1),
        ("a photo of sks dog", 5),
    ]
    assert config.sample_prompts == ["a photo of sks dog"]


def test_a_prompt_for_groups_of_several_subjects_is_refused(tmp_path: Path):
    fill(tmp_path / "10_sks dog", 3)
    fill(tmp_path / "5_ohwx cat", 1)
    with pytest.raises(ConfigError, match=r"5_ohwx cat \(1 photo\), 10_sks dog \(3 photos\)"):
        config_of("--instance-images", tmp_path, "--instance-prompt", "a photo of sks dog")


def test_weights_beyond_the_settings_limit_keep_their_proportion(tmp_path: Path):
    fill(tmp_path / "9999_sks dog", 1)
    fill(tmp_path / "4000_ohwx cat", 1)
    assert [one[2] for one in concepts_of(config_of("--instance-images", tmp_path))] == [400, 1000]


def test_regularisation_folders_are_class_images(tmp_path: Path):
    fill(tmp_path / "img" / "10_sks dog", 2)
    fill(tmp_path / "img" / "10_ohwx cat", 2)
    fill(tmp_path / "reg" / "1_dog", 3)
    fill(tmp_path / "reg" / "1_cat", 4)
    config = config_of(
        "--instance-images", tmp_path / "img", "--class-images", tmp_path / "reg"
    )  # fmt: skip
    priors = [(Path(c.prior.class_images or "").name, c.prior) for c in config.concepts]
    assert [(name, one.class_prompt, one.num_class_images) for name, one in priors] == [
        ("1_cat", "cat", 4),
        ("1_dog", "dog", 3),
    ]


def test_a_single_regularisation_folder_serves_every_subject(tmp_path: Path):
    fill(tmp_path / "img" / "10_ohwx woman", 2)
    fill(tmp_path / "reg" / "1_person", 2)
    config = config_of(
        "--instance-images", tmp_path / "img", "--class-images", tmp_path / "reg",
        "--class-prompt", "a photo of a person", "--num-class-images", 7,
    )  # fmt: skip
    prior = config.concepts[0].prior
    assert Path(prior.class_images or "").name == "1_person"
    assert (prior.class_prompt, prior.num_class_images) == ("a photo of a person", 7)


def test_of_several_regularisation_folders_one_must_fit(tmp_path: Path):
    fill(tmp_path / "img" / "10_ohwx woman", 2)
    for name in ("1_dog", "1_cat"):
        fill(tmp_path / "reg" / name, 1)
    with pytest.raises(ConfigError, match="class of 'ohwx woman': 1_cat, 1_dog"):
        config_of("--instance-images", tmp_path / "img", "--class-images", tmp_path / "reg")


def concepts_list(folder: Path) -> Path:
    """A concepts_list.json: class images of the dog are there, those of the cat are not."""
    fill(folder / "dog", 2)
    fill(folder / "cat", 1)
    fill(folder / "dogs", 3)
    document = [
        {
            "instance_prompt": "photo of zwx dog", "class_prompt": "photo of a dog",
            "instance_data_dir": str(folder / "dog"), "class_data_dir": str(folder / "dogs"),
        },
        {
            "instance_prompt": "photo of ukj cat", "class_prompt": "photo of a cat",
            "instance_data_dir": str(folder / "cat"), "class_data_dir": str(folder / "cats"),
        },
    ]  # fmt: skip
    path = folder / "concepts_list.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.mark.parametrize("flag", ["--concepts-list", "--concepts_list", "--config"])
def test_a_concepts_list_is_read_with_its_own_names(tmp_path: Path, flag: str):
    config = config_of(flag, concepts_list(tmp_path))
    assert concepts_of(config) == [("dog", "photo of zwx dog", 1), ("cat", "photo of ukj cat", 1)]
    dog, cat = (concept.prior for concept in config.concepts)
    assert dog.class_images == str(tmp_path / "dogs")
    assert (cat.class_images, cat.class_prompt, cat.enabled) == (None, "photo of a cat", True)


def test_a_config_may_hold_such_a_list(tmp_path: Path):
    document = json.loads(concepts_list(tmp_path).read_text("utf-8"))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"concepts": document, "resolution": 256}), "utf-8")
    config = config_of("--config", path)
    assert concepts_of(config)[0][:2] == ("dog", "photo of zwx dog")
    assert config.resolution == 256


def test_flags_that_repeat_a_stopped_runs_folders_mean_the_same(tmp_path: Path):
    fill(tmp_path / "img" / "10_sks dog", 3)
    fill(tmp_path / "img" / "5_ohwx cat", 4)
    first = config_of("--instance-images", tmp_path / "img")
    run = tmp_path / "runs" / "r"
    run.mkdir(parents=True)
    (run / "config.json").write_text(first.to_json(), "utf-8")
    again = config_of("--instance-images", tmp_path / "img", "--resume", "--run", run)
    assert again == first


BAD = [
    "{}", "3", "[1", '[{"instance_dir": "x"}]', "[3]", '[{"instance_images": 3}]',
    '[{"instance_images": [3], "instance_prompt": "a"}]',
    '[{"instance_images": "a", "instance_data_dir": "b", "instance_prompt": "c"}]',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_list_of_concepts_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "list.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError):
        config_of("--concepts-list", path)
