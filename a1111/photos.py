"""The tab's photos: keeps copies of uploads, and previews crops and warnings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..trainer.config.concept import InstanceConfig
from ..trainer.errors import ConfigError
from ..trainer.files.atomic import names, write_atomic
from ..trainer.files.fingerprint import file_sha256, settings_key
from ..trainer.files.own import check_tree, is_own_file, make_folder, remove
from ..trainer.photos.crops import crops_of
from ..trainer.photos.images import Photo, load_photos
from ..trainer.photos.report import Note, Report, inspect_photos
from ..trainer.prompts.tokenizer import token_count

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Look", "keep", "look_at"]

MAX_PHOTOS = 1000
SHOWN = 64  # crops in the preview; all of them could be gigabytes
GIVE_PHOTOS = "Drop photos into the field, or enter a folder."


@dataclass(frozen=True)
class Look:
    """The preview of a set of photos: crops with file names, and the report as HTML."""

    crops: Sequence[tuple[Image, str]]
    report: str


def keep(uploads: Sequence[Path], store: Path) -> Path:
    """Copy uploads into one folder and return it; the same files share a folder.

    The host clears its own uploads from time to time, but a run may be resumed much later.

    Raises:
        ConfigError: there are no files, too many, one is missing, all of them are empty, or there
            are links in the folder.
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


def look_at(config: InstanceConfig) -> Look:
    """Load and check the photos; return the first training crops and the report.

    Raises:
        ConfigError: a photo is unusable and `bad_images` is refuse, or no photo is left.
    """
    skipped: list[ConfigError] = []
    photos = load_photos(config, skipped.append)
    report = inspect_photos(photos, config, token_count)
    crops = islice(named_crops(photos, config), SHOWN)
    return Look(list(crops), report_html(report, skipped))


def named_crops(photos: Sequence[Photo], config: InstanceConfig) -> Iterator[tuple[Image, str]]:
    for index, photo in enumerate(photos):
        yield from ((crop.image, photo.path.name) for crop in crops_of(photo, config, index))


def report_html(report: Report, skipped: Sequence[ConfigError]) -> str:
    """Return the report as an HTML list; file names and prompts are escaped."""
    number = len(report.photos)
    items = [("Skipped", str(error)) for error in skipped]
    items += [("All photos", note_text(note)) for note in report.notes]
    for photo in report.photos:
        items += [(photo.photo.path.name, note_text(note)) for note in photo.notes]
    rows = "".join(f"<li><b>{escape(name)}</b> {escape(text)}</li>" for name, text in items)
    found = "to improve:" if rows else "no problems found."
    head = f"{number} photo{'s' if number != 1 else ''}, {found}"
    return f"<div class='dreambooth-report'>{head}<ul>{rows}</ul></div>"


def note_text(note: Note) -> str:
    return f"{note.message} {note.hint}"
