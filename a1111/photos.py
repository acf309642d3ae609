"""The photos as the tab holds them: uploads kept in a folder, and a look at the set."""

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
from ..trainer.photos.crops import crops_of
from ..trainer.photos.images import Photo, load_photos
from ..trainer.photos.report import Note, Report, inspect_photos
from ..trainer.prompts.tokenizer import token_count

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PHOTOS = 1000
SHOWN = 64  # crops; all of them could be gigabytes
GIVE_PHOTOS = "Drop some into the field, or give a folder."


@dataclass(frozen=True)
class Look:
    """What the tab shows of a set of photos: crops with their file's name, and the report."""

    crops: Sequence[tuple[Image, str]]
    report: str


def keep(uploads: Sequence[Path], store: Path) -> Path:
    """Put uploaded files, each in a folder of its own, together; the same files only once.

    The host's folder of uploads is emptied now and then, and a run may be resumed much later.

    Raises:
        ConfigError: there are none, very many, one is gone, or all of them are empty.
    """
    if not uploads:
        raise ConfigError("There are no photos.", GIVE_PHOTOS)
    if len(uploads) > MAX_PHOTOS:
        raise ConfigError(f"There are {len(uploads):,} photos.", f"Give at most {MAX_PHOTOS}.")
    for path in uploads:
        if not path.is_file():
            raise ConfigError(f"The photo {path.name!r:.99} is gone.", "Upload it again.")
    if not any(path.stat().st_size for path in uploads):
        raise ConfigError("The photos have not arrived yet.", "Wait a little, and try again.")
    key = settings_key({"files": [(path.name, file_sha256(path)) for path in uploads]})
    folder = store / key[:20]
    complete = folder / ".complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in uploads:
            target = next(p for p in names(folder, path.stem, path.suffix) if not p.exists())
            shutil.copyfile(path, target)
        write_atomic(complete, "")
    return folder


def look_at(config: InstanceConfig) -> Look:
    """Load and check the photos, and cut the first crops as they will be trained.

    Raises:
        ConfigError: one cannot be used and is not to be skipped, or none is left.
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
    """The report's warnings as a list; names and prompts in it are text, never HTML."""
    number = len(report.photos)
    items = [("Left out", str(error)) for error in skipped]
    items += [("All photos", note_text(note)) for note in report.notes]
    for photo in report.photos:
        items += [(photo.photo.path.name, note_text(note)) for note in photo.notes]
    rows = "".join(f"<li><b>{escape(name)}</b> {escape(text)}</li>" for name, text in items)
    head = f"{number} photo{'s' if number != 1 else ''}, " + ("hints:" if rows else "all fine.")
    return f"<div class='dreambooth-report'>{head}<ul>{rows}</ul></div>"


def note_text(note: Note) -> str:
    return f"{note.message} {note.hint}"
