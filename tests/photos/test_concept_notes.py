"""What is said of prompts, captions and class images before they are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.photos.test_leftovers import photo
from trainer.config.concept import ConceptConfig, InstanceConfig, PriorConfig
from trainer.photos.concept_notes import concept_notes, syntax_notes
from trainer.photos.images import load_photos
from trainer.photos.notes import Note

PROMPT, CLASS = "a photo of sks dog", "a photo of a dog"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        photo(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def notes_on(folder: Path, prompt: str = PROMPT, **prior: Any) -> list[Note]:
    instance = InstanceConfig((str(folder),), prompt, resolution=64)
    concept = ConceptConfig(instance, PriorConfig(**prior))
    return list(concept_notes(concept, load_photos(instance, pytest.fail)))


def caption(folder: Path, *texts: str) -> None:
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)


@pytest.mark.parametrize("prior", [{}, {"class_prompt": CLASS}])
def test_captions_without_the_trigger_word_are_named(folder: Path, prior: dict[str, Any]):
    caption(folder, "a brown dog", "SKS dog, grass", "husks")
    (note,) = notes_on(folder, **prior)
    assert note.code == "caption_without_trigger"
    assert note.message == "2 of 3 captions without 'sks': 0.txt, 2.txt."


@pytest.mark.parametrize("prior", [{}, {"class_prompt": CLASS}])
def test_good_prompts_and_captions_get_no_note(folder: Path, prior: dict[str, Any]):
    assert notes_on(folder, **prior) == []
    caption(folder, "sks dog", "a sks puppy on grass")
    assert notes_on(folder, **prior) == []


@pytest.mark.parametrize(
    ("prompt", "class_prompt", "code"),
    [
        (PROMPT, PROMPT, "prompts_alike"),
        (PROMPT, " A photo of SKS dog", "prompts_alike"),
        (PROMPT, "a photo of a sks puppy", "rare_class_word"),
        (PROMPT, "sks dog", "rare_class_word"),
        ("a photo of the dog", CLASS, "prompts_alike"),
    ],
)
def test_a_class_prompt_that_names_the_subject_is_told(folder, prompt, class_prompt, code):
    assert [note.code for note in notes_on(folder, prompt, class_prompt=class_prompt)] == [code]


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    for number in range(2):
        photo(tmp_path / "dogs" / f"{number}.png")
    return tmp_path / "dogs"


def test_fewer_and_more_class_images_than_asked_are_told(folder: Path, dogs: Path):
    given = {"class_prompt": CLASS, "class_images": str(dogs)}
    (few,) = notes_on(folder, **given)
    assert few.message == f"class_images {dogs} has 2 of num_class_images 100."
    (more,) = notes_on(folder, **given, num_class_images=1)
    assert more.message == f"class_images {dogs} has 2; the first 1 are used."
    assert notes_on(folder, **given, num_class_images=2) == []


@pytest.mark.parametrize(
    ("prior", "reason"),
    [({}, "class_prompt is empty"),
     ({"class_prompt": CLASS, "num_class_images": 0}, "num_class_images is 0")],
)  # fmt: skip
def test_class_images_that_are_not_trained_are_told(folder: Path, dogs: Path, prior, reason):
    (note,) = notes_on(folder, class_images=str(dogs), **prior)
    assert note.message == f"class_images {dogs} are not trained: {reason}."


def test_photos_as_class_images_are_told(folder: Path):
    caption(folder, "sks dog")
    given = {"class_prompt": CLASS, "class_images": str(folder), "num_class_images": 3}
    (note,) = notes_on(folder, **given)
    assert note.message == "3 of 3 class images are photos of the subject."


def test_captions_and_other_files_of_class_images_are_told(folder: Path, dogs: Path):
    (dogs / "0.txt").write_text("a dog")
    (dogs / "x.nef").write_bytes(b"x")
    given = {"class_prompt": CLASS, "class_images": str(dogs), "num_class_images": 2}
    captions, raw = notes_on(folder, **given)
    assert captions.message == "Captions of class images are not used: 0.txt."
    assert raw.message == f"Not used in {dogs}: x.nef (camera raw)."


def test_a_folder_of_generated_class_images_has_no_leftovers(folder: Path, dogs: Path):
    for name in ("set.json", "lock"):
        (dogs / name).write_text("{}")
    for number in (2, 1):
        given = {"class_prompt": CLASS, "class_images": str(dogs), "num_class_images": number}
        assert notes_on(folder, **given) == []


def test_syntax_of_hosts_is_told_once():
    (note,) = syntax_notes([r"sks \(x\)", "a (dog:1.2) BREAK", "<lora:x:1> (dog:1.2)"])
    assert note.message == (
        r"Prompts contain \(, \), (dog:1.2), BREAK, <lora:x:1>: read as plain text."
    )
    assert list(syntax_notes([PROMPT, CLASS])) == []
