"""Notes on what may spoil a training, and the words that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import visible

__all__ = ["Note", "counted", "grouped", "listed", "names_of"]

MAX_NAMED = 10
SHOWN, NAMED = 3, 5  # notes of one kind in full, and photos that share it by name


@dataclass(frozen=True)
class Note:
    """Something that may spoil the training, and what to do about it.

    Args:
        photo: name of the photo that it is about.
    """

    code: str
    message: str
    hint: str
    photo: str = ""


def grouped(notes: Sequence[Note], shown: int = SHOWN) -> tuple[Note, ...]:
    """Return the first notes of each kind, and one that names the other photos."""
    kinds: dict[str, list[Note]] = {}
    for note in notes:
        kinds.setdefault(note.code, []).append(note)
    return tuple(note for kind in kinds.values() for note in shortened(kind, shown))


def shortened(notes: list[Note], shown: int) -> list[Note]:
    rest = notes[shown:]
    if len(rest) < 2:
        return notes
    named = [note.photo for note in rest[:NAMED] if note.photo]
    others = f" and {len(rest) - NAMED} others" if named and len(rest) > NAMED else ""
    names = f": {', '.join(named)}{others}" if named else ""
    kind = rest[0].code.replace("_", " ")
    more = f"The same ({kind}) goes for {len(rest)} more photos{names}."
    return [*notes[:shown], replace(rest[0], message=more, photo="")]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 photo", "2 photos"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(texts: Sequence[str]) -> str:
    """Return texts as one list; of a long one, the first and how many more there are."""
    shown, more = texts[:MAX_NAMED], len(texts) - MAX_NAMED
    return ", ".join(map(visible, shown)) + (f" and {more:,} more" if more > 0 else "")


def names_of(paths: Iterable[Path]) -> str:
    """Return the names of files as one list."""
    return listed([path.name for path in paths])
