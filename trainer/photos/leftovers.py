"""What the user gave and a training does not use: files, folders and captions, named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.concept import InstanceConfig
from ..errors import visible
from .captions import CaptionFiles, is_caption_name
from .folder import entries, groups_in, photos_below, photos_in
from .images import Photo, has_more_frames
from .notes import Note, counted, listed, names_of

__all__ = ["caption_summary", "folder_notes", "leftover_notes"]


@dataclass(frozen=True)
class Kind:
    """What a file is that is not read, and what to do about it."""

    words: str
    hint: str


RAW = Kind("camera raw", "Export them as JPEG or TIFF from your photo program.")
IMAGE = Kind("an image format that is not read", "Save them as JPEG or PNG.")
VIDEO = Kind("video", "Save single frames as JPEG or PNG.")
ARCHIVE = Kind("archives", "Unpack them.")
ORPHAN = Kind(
    "captions without a photo of that name",
    "The caption of IMG_1.png is IMG_1.txt, IMG_1.caption, IMG_1.cap or IMG_1.png.txt.",
)
BROKEN = Kind("no files that can be opened", "Copy them again, or remove them.")
OTHER = Kind("no photos", "If they are images, save them as JPEG or PNG.")
SUFFIXES: Mapping[Kind, str] = {
    RAW: """.3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .kdc .mef .mos .mrw .nef .nrw
        .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f""",
    IMAGE: """.ai .avifs .dds .emf .eps .exr .hdr .heics .heifs .icns .ico .j2k .jp2
        .jpx .jxl .jxr .kra .pbm .pcx .pdf .pgm .pnm .ppm .psb .psd .qoi .svg .svgz .tga .wdp .wmf
        .xcf""",
    VIDEO: ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .webm .wmv",
    ARCHIVE: ".7z .bz2 .gz .rar .tar .xz .zip",
}
KINDS = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes.split()}


def caption_summary(photos: Sequence[Photo], config: InstanceConfig) -> str:
    """Return in words how many photos have captions, and what becomes of the others."""
    with_own = sum(photo.source.file is not None for photo in photos)
    if config.caption_mode == "prompt":
        unused = sum(bool(photo.source.unused) for photo in photos)
        why = ", which are not used: caption_mode is prompt." if unused else "."
        return f"{unused} of {len(photos)} photos have captions{why}"
    others = "; the others are trained with the instance prompt" if with_own else ""
    others = "" if with_own == len(photos) else others
    return f"{with_own} of {len(photos)} photos have captions{others}."


def leftover_notes(photos: Sequence[Photo], config: InstanceConfig) -> Iterator[Note]:
    """Yield what there is to say of files in the photos' folders that are not trained as given."""
    sources = {Path(source).resolve(): Path(source) for source in config.instance_images}
    for folder in (source for source in sources.values() if source.is_dir()):
        yield from folder_notes(folder, sources)
        groups = [] if photos_in(folder) else groups_in(folder)
        for group in groups[:1]:
            yield from group_notes(group.folder, group.prompt, config.instance_prompt)
            yield from folder_notes(group.folder)
    if config.caption_mode == "auto":
        yield from caption_notes(photos)
    animated = [photo.path for photo in photos if has_more_frames(photo.path)]
    if animated:
        yield Note(
            "first_frame",
            f"Of several frames or pages, only the first is trained: {names_of(animated)}.",
            "Save the others as photos of their own if they are to be trained.",
        )


def group_notes(folder: Path, prompt: str, instance_prompt: str) -> Iterator[Note]:
    if prompt != instance_prompt:
        yield Note(
            "folder_prompt",
            f"The photos are read from {folder.name}; its prompt {visible(prompt)!r} is not used.",
            "The instance prompt is trained. To train the folder's, set it as instance prompt.",
        )


def folder_notes(folder: Path, used: Sequence[Path] | Mapping[Path, object] = ()) -> Iterator[Note]:
    """Yield what lies in a folder and is neither a photo nor a caption of one; one note a kind.

    Args:
        used: folders that are read on their own.
    """
    photos = photos_in(folder)
    captions = CaptionFiles()
    read = {*photos, *(file for photo in photos for file in captions.of(photo))}
    left: dict[Kind, list[Path]] = {}
    folders: list[Path] = []
    for path in entries(folder):
        if path.is_dir():
            folders.append(path)
        elif path not in read:
            left.setdefault(kind_of(path), []).append(path)
    for kind, paths in left.items():
        message = f"Not used in {folder}: {names_of(paths)} ({kind.words})."
        yield Note("not_used", message, kind.hint)
    groups = [] if photos else groups_in(folder)
    read_as_group = [groups[0].folder] if len(groups) == 1 else []
    unread = [path for path in folders if path.resolve() not in used and path not in read_as_group]
    if unread:
        each = [f"{path.name} ({counted(photos_below(path), 'photo')})" for path in unread]
        message = f"Not used in {folder}: the folders {listed(each)}."
        yield Note("not_used", message, "Give those folders as well, or move their photos up.")


def kind_of(path: Path) -> Kind:
    if not path.is_file():
        return BROKEN
    if is_caption_name(path):
        return ORPHAN
    return KINDS.get(path.suffix.lower(), OTHER)


def caption_notes(photos: Sequence[Photo]) -> Iterator[Note]:
    without = [photo.path for photo in photos if photo.source.file is None]
    if 0 < len(without) < len(photos):
        yield Note(
            "caption_missing",
            f"Without a caption, and trained with the instance prompt: {names_of(without)}.",
            "Write captions for all photos or for none, unless this is what you want.",
        )
    empty = [file for photo in photos if photo.source.file is None for file in photo.source.unused]
    if empty:
        hint = "Write a caption, or remove the file."
        yield Note("caption_empty", f"Empty captions: {names_of(empty)}.", hint)
    second = [file for photo in photos if photo.source.file for file in photo.source.unused]
    if second:
        used = [photo.source.file for photo in photos if photo.source.file and photo.source.unused]
        yield Note(
            "caption_unused",
            f"Second captions that are not used: {names_of(second)}. Used: {names_of(used)}.",
            "Remove those that are not to be trained.",
        )
