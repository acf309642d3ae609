"""What lies in a folder of photos: it is trained, or it is named."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer.config.concept import InstanceConfig
from trainer.errors import ConfigError, visible
from trainer.photos.captions import CaptionFiles, read_caption
from trainer.photos.folder import find_photos, photos_at
from trainer.photos.images import load_photos
from trainer.photos.report import Report, inspect_photos
from trainer.prompts.tokenizer import token_count

PROMPT = "a photo of sks dog"
COMPOSED = unicodedata.normalize("NFC", "chien_é")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((128, 128), 80).convert("RGB").save(path, format="PNG")
    return path


def report_on(*sources: Path, **changes: Any) -> Report:
    config = InstanceConfig(tuple(map(str, sources)), PROMPT, resolution=64, **changes)
    return inspect_photos(load_photos(config, pytest.fail), config, token_count)


def said(report: Report, *codes: str) -> list[str]:
    return [note.message for note in report.notes if note.code in codes]


@pytest.mark.parametrize(
    ("image", "caption"),
    [
        ("IMG_1.PNG", "IMG_1.txt"),
        ("IMG_1.PNG", "IMG_1.TXT"),
        ("IMG_1.PNG", "img_1.txt"),
        ("IMG_1.PNG", "IMG_1.caption"),
        ("IMG_1.PNG", "IMG_1.Caption"),
        ("IMG_1.PNG", "IMG_1.cap"),
        ("IMG_1.PNG", "IMG_1.png.txt"),
        ("IMG_1.PNG", "IMG_1.PNG.caption"),
        ("my.dog.png", "my.dog.txt"),
        (f"{COMPOSED}.png", f"{DECOMPOSED}.txt"),
        (f"{DECOMPOSED}.png", f"{COMPOSED}.TXT"),
        ("STRASSE.png", "strasse.txt"),
    ],
)
def test_every_spelling_of_a_captions_name_is_read(tmp_path: Path, image: str, caption: str):
    path = photo(tmp_path / image)
    (tmp_path / caption).write_text("sks dog, outdoors, solo", "utf-8")
    found = read_caption(path, "txt", PROMPT)
    assert (found.text, found.file) == ("sks dog, outdoors, solo", tmp_path / caption)
    assert report_on(tmp_path).captions == "1 of 1 photos have captions."
    assert not said(report_on(tmp_path), "not_used", "caption_unused")


def test_of_several_captions_the_photos_own_spelling_wins_and_the_others_are_named(tmp_path: Path):
    path = photo(tmp_path / "a.png")
    for name in ("a.caption", "a.txt", "A.cap", "a.png.txt"):
        (tmp_path / name).write_text(name)
    assert read_caption(path, "auto", PROMPT).text == "a.txt"
    (message,) = said(report_on(tmp_path), "caption_unused")
    assert message == (
        "Second captions that are not used: a.png.txt, a.caption, A.cap. Used: a.txt."
    )


def test_an_empty_caption_is_passed_over_for_the_next_and_named(tmp_path: Path):
    for name in ("a.png", "b.png"):
        photo(tmp_path / name)
    (tmp_path / "a.txt").write_text(" \n")
    (tmp_path / "a.caption").write_text("sks dog")
    (tmp_path / "b.txt").write_text("")
    report = report_on(tmp_path)
    assert [one.prompt for one in report.photos] == ["sks dog", PROMPT]
    assert said(report, "caption_empty") == ["Empty captions: b.txt."]
    assert said(report, "caption_missing") == [
        "Without a caption, and trained with the instance prompt: b.png."
    ]


@pytest.mark.parametrize(
    ("captions", "mode", "summary"),
    [
        ((), "auto", "0 of 3 photos have captions."),
        (("1",), "auto",
         "1 of 3 photos have captions; the others are trained with the instance prompt."),
        (("0", "1", "2"), "auto", "3 of 3 photos have captions."),
        (("0", "1"), "prompt",
         "2 of 3 photos have captions, which are not used: caption_mode is prompt."),
    ],
)  # fmt: skip
def test_the_report_says_how_many_photos_have_captions(tmp_path: Path, captions, mode, summary):
    for name in "012":
        photo(tmp_path / f"{name}.png")
    for name in captions:
        (tmp_path / f"{name}.caption").write_text("sks dog")
    report = report_on(tmp_path, caption_mode=mode)
    assert report.captions == summary
    assert report.text().splitlines()[1] == summary


def test_a_caption_that_cannot_be_read_is_named(tmp_path: Path):
    photo(tmp_path / "a.png")
    (tmp_path / "a.caption").write_bytes("café".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"a\.caption is not UTF-8"):
        report_on(tmp_path)


def test_captions_are_listed_once_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [photo(tmp_path / f"{index}.png") for index in range(3)]
    listings: list[Path] = []
    plain = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: listings.append(self) or plain(self))
    captions = CaptionFiles()
    assert [captions.of(path) for path in paths] == [[]] * 3
    assert listings == [tmp_path]


@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        ("a.CR3", "camera raw", "Export them as JPEG"),
        ("a.nef", "camera raw", "Export them as JPEG"),
        ("a.dng", "camera raw", "Export them as JPEG"),
        ("a.jxl", "an image format that is not read", "Save them as JPEG"),
        ("a.psd", "an image format that is not read", "Save them as JPEG"),
        ("a.mp4", "video", "Save single frames"),
        ("a.zip", "archives", "Unpack"),
        ("notes.txt", "captions without a photo", "The caption of IMG_1.png is"),
        ("a.png~", "no photos", "If they are images"),
        ("README", "no photos", "If they are images"),
    ],
)
def test_files_that_are_not_read_are_named_with_what_to_do(tmp_path, name, words, hint):
    photo(tmp_path / "dog.png")
    (tmp_path / name).write_bytes(b"x")
    (note,) = (note for note in report_on(tmp_path).notes if note.code == "not_used")
    assert note.message.startswith(f"Not used in {tmp_path}: {name} ({words}")
    assert note.hint.startswith(hint)


def test_files_of_a_kind_are_one_note_and_a_long_list_ends_in_a_number(tmp_path: Path):
    photo(tmp_path / "dog.png")
    for number in range(30):
        (tmp_path / f"{number}.cr3").write_bytes(b"x")
    (message,) = said(report_on(tmp_path), "not_used")
    assert "0.cr3, 1.cr3, " in message and message.endswith("9.cr3 and 20 more (camera raw).")


def test_only_the_first_frame_is_trained_and_that_is_said(tmp_path: Path):
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    for suffix in ("gif", "webp", "png", "tif"):
        more = {"save_all": True, "append_images": frames[1:]}
        frames[0].save(tmp_path / f"{suffix}_2.{suffix}", **more)
        frames[0].save(tmp_path / f"{suffix}_1.{suffix}")
    (message,) = said(report_on(tmp_path), "first_frame")
    assert message.endswith("is trained: gif_2.gif, png_2.png, tif_2.tif, webp_2.webp.")


SYSTEM = [".DS_Store", "._dog.png", ".hidden.jpg", "Thumbs.db", "desktop.ini", "ehthumbs.db"]


def test_what_systems_leave_behind_is_passed_by_quietly(tmp_path: Path):
    photo(tmp_path / "dog.png")
    for name in SYSTEM:
        (tmp_path / name).write_bytes(b"x")
    for name in ("__MACOSX", "@eaDir", ".git"):
        (tmp_path / name).mkdir()
    assert not said(report_on(tmp_path), "not_used")
    assert find_photos([tmp_path]) == [tmp_path / "dog.png"]


def test_photos_in_a_folder_below_are_named(tmp_path: Path):
    photo(tmp_path / "top.png")
    for number in range(3):
        photo(tmp_path / "album" / f"{number}.png")
    (message,) = said(report_on(tmp_path), "not_used")
    assert message == f"Not used in {tmp_path}: the folders album (3 photos)."
    assert not said(report_on(tmp_path, tmp_path / "album"), "not_used")


def test_a_folder_without_photos_names_the_folders_that_have_some(tmp_path: Path):
    for number in range(3):
        photo(tmp_path / "album" / f"{number}.png")
    with pytest.raises(ConfigError) as caught:
        find_photos([tmp_path])
    assert caught.value.message == (
        f"Folder {tmp_path} contains no photos; its folders do: album (3 photos)."
    )
    assert caught.value.hint == f"Give such a folder: {tmp_path / 'album'}"


def test_a_folder_without_photos_names_the_files_that_it_has(tmp_path: Path):
    for name in ("a.cr3", "b.nef"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"contains no photos, only a\.cr3, b\.nef\."):
        find_photos([tmp_path])


def test_a_folder_named_by_kohyas_rule_is_read_and_its_prompt_told(tmp_path: Path):
    inner = tmp_path / "10_sks dog"
    paths = [photo(inner / f"{number}.png") for number in range(3)]
    assert photos_at(tmp_path) == paths
    (message,) = said(report_on(tmp_path), "folder_prompt")
    assert message == "The photos are read from 10_sks dog; its prompt 'sks dog' is not used."
    photo(tmp_path / "5_ohwx cat" / "a.png")
    with pytest.raises(ConfigError, match=r"10_sks dog \(3 photos\)") as caught:
        photos_at(tmp_path)
    assert "5_ohwx cat (1 photo)" in caught.value.message


NAMES = st.one_of(
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1),
    st.sampled_from(["photo", "IMG_1", "dog", "a.b", "10_x", "é", "ｱ", "ß", "..", "ﬁ"]).flatmap(
        lambda stem: st.sampled_from(
            ["", ".png", ".PNG", ".txt", ".TXT", ".png.txt", ".caption", ".cr3", ".mp4", ".jpg_",
             ".jpeg.bak", ".xmp", ".json", " .png", ".png ", "."]
        ).map(lambda suffix: stem + suffix)
    ),
)  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(NAMES, max_size=6), folders=st.sets(st.integers(0, 5), max_size=1))
def test_no_file_is_passed_by_without_a_word(tmp_path: Path, names: list[str], folders: set[int]):
    folder = tmp_path / "photos"
    shutil.rmtree(folder, ignore_errors=True)
    photo(folder / "photo.png")
    made: list[Path] = []
    for index, name in enumerate(names):
        path = folder / name
        if name in (".", "..") or len(name.encode()) > 200 or path.exists():
            continue
        if index in folders:
            path.mkdir()
        elif path.suffix.lower() == ".png":
            photo(path)
        else:
            path.write_text("a caption")
        made.append(path)
    report = report_on(folder)
    words = report.text() + " ".join(note.message for note in report.notes)
    for path in made:
        is_of_system = path.name.startswith(".") or path.name.casefold() in (
            "thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx", "@eadir",
        )  # fmt: skip
        used = any(one.photo.source.file == path for one in report.photos)
        assert is_of_system or used or visible(path.name) in words
