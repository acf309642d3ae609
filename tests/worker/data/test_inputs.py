"""What a run is made from: every photo and setting is noticed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.config.config import Config
from trainer.errors import ConfigError
from trainer.photos.images import Photo
from trainer.photos.looks import Look
from trainer.worker.data.inputs import Inputs, check_same, description


def photo(folder: Path, content: bytes, caption: str = "a photo of sks dog") -> Photo:
    folder.mkdir(exist_ok=True)
    path = folder / "photo_1.png"
    path.write_bytes(content)
    return Photo(path, (8, 8), caption, transparent=False, look=Look(99, 0, 0, (0, 0, 0)))


def inputs(*photos: Photo) -> Inputs:
    found = Inputs("base", "vae")
    found.add_photos(photos)
    return found


def test_photos_of_two_folders_with_one_name_are_two_photos(tmp_path):
    first, second = photo(tmp_path / "a", b"1"), photo(tmp_path / "b", b"2")
    found = inputs(first, second)
    assert found.places == {"photo_1.png": [1, 1], "photo_1.png (2)": [1, 2]}
    swapped = inputs(second, first)
    assert found.images != swapped.images


def test_a_folder_may_be_moved_but_no_photo_or_caption_changed(tmp_path):
    before = inputs(photo(tmp_path / "a", b"1"))
    assert inputs(photo(tmp_path / "b", b"1")) == before
    assert inputs(photo(tmp_path / "c", b"2")) != before
    assert inputs(photo(tmp_path / "d", b"1", "a cat")) != before


def config(**values: object) -> Config:
    required = {"base": "a.safetensors", "output": "b.safetensors"}
    return Config.from_values(required | values)


CONCEPTS = [
    {"instance_images": ["a"], "instance_prompt": "sks dog"},
    {"instance_images": ["b"], "instance_prompt": "ohwx cat"},
]


def test_a_changed_setting_of_any_concept_is_named(tmp_path):
    def described(second: dict[str, object]) -> dict[str, object]:
        return description(config(concepts=[CONCEPTS[0], CONCEPTS[1] | second]), Inputs("b", "v"))

    before = described({})
    check_same(before, described({"instance_images": ["elsewhere"]}), "r")
    with pytest.raises(ConfigError, match="instance_prompt of concept 2"):
        check_same(before, described({"instance_prompt": "ohwx dog"}), "r")
