"""The tab's photos: keeps copies of uploads, and previews crops and warnings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..trainer.config.concept import InstanceConfig
from ..trainer.errors import ConfigError
from ..trainer.files.atomic import names, write_atomic
from ..trainer.files.fingerprint import file_sha256, settings_key
from ..trainer.files.own import check_tree, is_own_file, make_folder, remove
from ..trainer.photos.captions import is_caption_name, read_text
from ..trainer.photos.crops import FirstCrops
from ..trainer.photos.images import load_photos, starts_like_photo
from ..trainer.photos.notes import Note
from ..trainer.photos.report import Report, grouped, inspect_photos, skip_notes
from ..trainer.prompts.tokenizer import token_count

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Look", "keep", "look_at"]

MAX_PHOTOS = 1000
SHOWN = 64  # crops in the preview; all of them could be gigabytes
GIVE_PHOTOS = "Drop photos into the field, or enter a folder."
GIVE_FORMATS = "Add JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC photos, and captions in .txt files."


@dataclass(frozen=True)
class Look:
    """The preview of a set of photos: crops with file names, and the report as HTML."""

    crops: Sequence[tuple[Image, str]]
    report: str


def keep(uploads: Sequence[Path], store: Path) -> Path:
    """Copy uploads into one folder and return it; the same files share a folder.

    The host clears its own uploads from time to time, but a run may be resumed much later.

    Raises:
        ConfigError: there are no photos, too many files, one is missing or neither a photo nor a
            caption, all of them are empty, or there are links in the folder.
    """
    if not uploads:
        raise ConfigError("There are no photos.", GIVE_PHOTOS)
    if len(uploads) > MAX_PHOTOS:
        raise ConfigError(f"There are {len(uploads):,} photos.", f"Use at most {MAX_PHOTOS:,}.")
    for path in uploads:
        if not path.is_file():
            raise ConfigError(f"Photo {path.name!r:.99} is missing.", "Upload it again.")
    if not any(path.stat().st_size for path in uploads):
        raise ConfigError("Photos are still uploading.", "Try again when they finish.")
    check_contents(uploads)
    key = settings_key({"files": [(path.name, file_sha256(path)) for path in uploads]})
    folder = store / key[:20]
    complete = folder / ".complete"
    make_folder(store.parent.parent, folder)
    check_tree(folder)
    if not is_own_file(complete):
        remove(store, folder)
        folder.mkdir()
        for path in uploads:
            target = next(p for p in names(folder, path.stem, path.suffix) if not p.exists())
            shutil.copyfile(path, target)
        write_atomic(complete, "")
    return folder


def check_contents(uploads: Sequence[Path]) -> None:
    """Refuse files that do not start like a photo and are no caption."""
    captions = [path for path in uploads if is_caption_name(path)]
    if len(captions) == len(uploads):
        raise ConfigError("There are no photos, only captions.", GIVE_PHOTOS)
    for path in uploads:
        if path in captions:
            check_caption(path)
        elif not starts_like_photo(path):
            raise ConfigError(f"{path.name!r:.99} is not a photo of a known format.", GIVE_FORMATS)


def check_caption(path: Path) -> None:
    try:
        read_text(path)
    except ConfigError as error:
        raise short(error, [path.parent]) from error


def short(error: ConfigError, folders: Iterable[str | Path]) -> ConfigError:
    """Return an error that does not tell in which of these folders its file is."""
    text = error.message
    for folder in folders:
        text = text.replace(f"{folder}{os.sep}", "")
    return ConfigError(text, error.hint)


def look_at(
    config: InstanceConfig, on_photo: Callable[[int, int], None] = lambda done, total: None
) -> Look:
    """Load and check the photos; return the first training crops and the report.

    Args:
        on_photo: called before each photo with how many were read, of how many.

    Raises:
        ConfigError: a photo is unusable and `bad_images` is refuse, or no photo is left.
    """
    skipped: list[ConfigError] = []
    folders, crops = config.instance_images, FirstCrops(config, SHOWN)
    try:
        photos = load_photos(
            config,
            lambda error: skipped.append(short(error, folders)),
            on_photo=on_photo,
            on_image=crops.add,
        )
    except ConfigError as error:
        raise short(error, folders) from error
    report = inspect_photos(photos, config, token_count)
    named = [(crop.image, photo.path.name) for photo, crop in crops.found]
    return Look(named, report_html(report, skipped))


def report_html(report: Report, skipped: Sequence[ConfigError]) -> str:
    """Return the report as an HTML list; file names and prompts are escaped."""
    number = len(report.photos)
    items = [("Skipped", note_text(note)) for note in skip_notes(skipped)]
    items += [("All photos", note_text(note)) for note in report.notes]
    notes = grouped(report.photo_notes())
    items += [(note.photo or "More photos", note_text(note)) for note in notes]
    rows = "".join(f"<li><b>{escape(name)}</b> {escape(text)}</li>" for name, text in items)
    found = "To improve:" if rows else "No problems found."
    head = f"{number} photo{'s' if number != 1 else ''}, {escape(report.captions)} {found}"
    return f"<div class='dreambooth-report'>{head}<ul>{rows}</ul></div>"


def note_text(note: Note) -> str:
    return f"{note.message} {note.hint}"
