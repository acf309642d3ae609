"""Settings: defaults, bounds, names, and the terminal's flags."""

from __future__ import annotations

import json

import pytest

from trainer.config.config import Config, all_settings
from trainer.config.presets import PRESETS, preset_values
from trainer.errors import ConfigError
from trainer.terminal.cli import make_parser

REQUIRED = {
    "base": "base.safetensors",
    "instance_images": ("photos",),
    "instance_prompt": "a photo of sks dog",
    "output": "loras/dog.safetensors",
}


def test_config_survives_json():
    config = Config.from_values(
        REQUIRED | {"rank": 8, "snr_gamma": 5.0, "sample_prompts": ("sks dog, 🐕", "b")}
    )
    assert Config.from_json(config.to_json()) == config
    assert Config.from_values(config.flat()) == config


def test_texts_are_read_as_the_settings_own_type():
    config = Config.from_values(
        REQUIRED | {"rank": "8", "learning_rate": "2e-4", "flip": "yes", "save_every": "none"}
    )
    assert config.trained.rank == 8
    assert config.training.learning_rate == 2e-4
    assert config.concepts[0].instance.flip is True
    assert config.result.save_every is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rank": 0}, "rank is 0. Give a whole number, at least 1"),
        ({"resolution": 500}, "resolution is 500. Give .* multiple of 64"),
        ({"learning_rate": 0}, "learning_rate is 0.0. Give a number, above 0"),
        ({"flip": "perhaps"}, "flip is 'perhaps'. Give true or false"),
        ({"crop_mode": "centre"}, "crop_mode is 'centre'. Give one of center, random, none"),
        ({"rnk": 8}, "no setting 'rnk'. Did you mean 'rank'"),
        ({"output": "dog.ckpt"}, "End it in .safetensors"),
    ],
)
def test_a_bad_value_is_named_with_what_would_do(values, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_values(REQUIRED | values)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_missing_setting_is_named_with_its_flag(name):
    values = {key: value for key, value in REQUIRED.items() if key != name}
    with pytest.raises(ConfigError, match=f"{name} is missing. Give --{name.replace('_', '-')}"):
        Config.from_values(values)


def test_names_are_unique_over_all_groups():
    names = [spec.name for _, spec in all_settings()]
    assert len(names) == len(set(names))


def test_every_setting_has_a_help_text_and_a_valid_default():
    Config.from_values(REQUIRED)
    for _, spec in all_settings():
        assert spec.help.endswith(".") and len(spec.help) > 20, spec.name


def test_every_setting_is_a_flag_of_train():
    parser = make_parser()
    known = {spec.name for _, spec in all_settings()}
    given = ["train"]
    for _, spec in all_settings():
        given += [spec.flag, spec.choices[0] if spec.choices else "1"]
    assert known <= vars(parser.parse_args(given)).keys()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_is_a_valid_config(name):
    config = Config.from_values(REQUIRED | {"class_prompt": "a dog"} | preset_values(name))
    for setting, value in preset_values(name).items():
        assert config.flat()[setting] == value


def test_there_is_a_preset_for_every_recipe():
    assert list(PRESETS) == [
        "sd15-lora", "sd2-lora", "sdxl-lora", "sd15-full", "sd2-full", "sdxl-lora-published",
        "paper", "face", "pet", "object", "style", "environment",
        "low-vram-16", "low-vram-12", "low-vram-10", "low-vram-8", "low-vram-6",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sd15-full", {
            "method": "full", "train_text_encoder": True, "learning_rate": 5e-6,
            "max_train_steps": 400, "lr_scheduler": "constant", "train_batch_size": 1,
            "resolution": None,
        }),
        ("sdxl-lora-published", {
            "resolution": None, "gradient_accumulation_steps": 4, "learning_rate": 1e-4,
            "max_train_steps": 500, "gradient_checkpointing": "on", "optimizer": "adamw8bit",
            "mixed_precision": "fp16", "seed": 0, "lr_scheduler": "constant", "rank": 4,
            "attention": "xformers",
        }),
        ("paper", {
            "method": "full", "train_text_encoder": True, "learning_rate": 5e-6,
            "max_train_steps": 1000, "prior_loss_weight": 1.0, "prior_target": "noise",
            "class_sampler": "euler_ancestral",
        }),
        *((f"low-vram-{gb}", {"optimizer": "adamw8bit"}) for gb in (16, 12, 10)),
        ("low-vram-8", {"optimizer": "adamw8bit", "base_precision": "fp8"}),
        ("low-vram-6", {"optimizer": "adamw8bit", "base_precision": "nf4"}),
    ],
)  # fmt: skip
def test_a_recipe_is_what_was_published(name, expected):
    config = Config.from_values(REQUIRED | {"class_prompt": "a dog"} | preset_values(name)).flat()
    assert {setting: config[setting] for setting in expected} == expected


@pytest.mark.parametrize("kind", ["face", "pet", "object", "style", "environment"])
def test_a_preset_for_a_kind_tells_it_to_the_photo_report(kind):
    assert preset_values(kind)["subject_kind"] == kind


def test_the_paper_without_a_class_is_refused():
    with pytest.raises(ConfigError, match="there are no class images. Set class_prompt"):
        Config.from_values(REQUIRED | preset_values("paper"))


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'sdxl-lora'"):
        preset_values("sdxl_lora")


def test_config_json_is_readable_by_hand():
    document = json.loads(Config.from_values(REQUIRED).to_json())
    assert document["model"]["base"] == "base.safetensors"
    assert document["instance"]["instance_images"] == ["photos"]
