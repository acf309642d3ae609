"""The state from which a run resumes, whole or not at all; it knows nothing of what is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from ...errors import ConfigError
from ...files.atomic import replace_folder, write_atomic
from ...files.fingerprint import file_sha256
from ...files.input_file import read_object
from ...files.own import is_own_file, make_folder, remove
from ...model_files.header import read_header
from ..data.inputs import DESCRIBED, check_same
from ..trainable.contract import Stateful

__all__ = ["checkpoints", "newest_whole", "prune", "put_aside", "resume", "save_checkpoint"]

STATE, SUMS = "state.json", "sha256.json"
MAX_STATE_BYTES = 10_000_000
GO_BACK = "Delete this checkpoint to resume from the one before it, or start a new run."
FOLDER = re.compile(r"step_(\d{6,})")


def save_checkpoint(
    folder: Path, step: int, parts: Mapping[str, Stateful], described: Mapping[str, Any]
) -> Path:
    """Write step_000200/ whole or not at all; returns its path.

    Args:
        parts: each becomes <name>.safetensors.
        described: what the run is made from, as `data.inputs.description` returns it.
    """
    final = folder / f"step_{step:06d}"
    partial = folder / f"{final.name}.partial"
    remove(folder.parent, partial)
    make_folder(folder.parent, partial)
    try:
        for name, part in parts.items():
            write_atomic(partial / part_file(name), partial_save(part))
        write_atomic(partial / STATE, json.dumps({"step": step, **described}, indent=2))
        sums = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
        write_atomic(partial / SUMS, json.dumps(sums, indent=2))
        replace_folder(partial, final)
    finally:
        with suppress(OSError):  # claiming the run removes it, too
            remove(folder.parent, partial)
    return final


def partial_save(part: Stateful) -> Callable[[Path], None]:
    return lambda path: save_file(part.tensors(), path)


def part_file(name: str) -> str:
    return f"{name}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step_*") if FOLDER.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))


def prune(folder: Path, limit: int) -> None:
    """Remove the oldest checkpoints beyond the limit."""
    for path in checkpoints(folder)[:-limit]:
        going = path.with_name(f"{path.name}.partial")  # so that a kill leaves no half checkpoint
        with suppress(OSError):  # a scanner may hold a file; it goes next time
            remove(folder.parent, going)
            path.replace(going)
            remove(folder.parent, going)


def newest_whole(folder: Path, names: Iterable[str]) -> tuple[Path | None, list[Path]]:
    """Return the newest checkpoint that is as it was written, and the damaged ones that are newer.

    Args:
        names: of the parts that it must have.

    Raises:
        ConfigError: there are checkpoints, and none is whole.
    """
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        if is_whole(path, names):
            return path, damaged
        damaged.append(path)
    if damaged:
        raise ConfigError(
            f"Every checkpoint in {folder} is damaged.",
            "Restore them from a backup, or start a new run in another folder.",
        )
    return None, []


def is_whole(path: Path, names: Iterable[str]) -> bool:
    """Whether every file of a checkpoint has the content that was written."""
    files = (*map(part_file, names), STATE)
    try:
        sums = read_object(path / SUMS, MAX_STATE_BYTES, GO_BACK, own=True)
        if not all(is_own_file(path / name) for name in files):  # a pipe would be waited for
            return False
        return sums == {name: file_sha256(path / name) for name in files}
    except (OSError, ConfigError):
        return False


def put_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is neither counted nor in the way of its step."""
    aside = path.with_name(f"{path.name}.damaged")
    remove(path.parent.parent, aside)
    replace_folder(path, aside)


def resume(path: Path, parts: Mapping[str, Stateful], described: Mapping[str, Any]) -> int:
    """Load a checkpoint into the parts; returns its step.

    Raises:
        ConfigError: the run was made from something else, or the files are not those of its parts.
    """
    state = read_state(path)
    check_same(state, described, path.parent.parent.name)
    for name, part in parts.items():
        file = path / part_file(name)
        read_header(file)  # says what is wrong with a damaged file
        try:
            part.load(load_file(file))
        except ValueError as error:
            raise ConfigError(f"{file}: {error}.", GO_BACK) from error
    return state["step"]


def read_state(path: Path) -> dict[str, Any]:
    """Return a checkpoint's plain values.

    Raises:
        ConfigError: they have the wrong types, or are of another step than the folder's name says.
    """
    state = read_object(path / STATE, MAX_STATE_BYTES, GO_BACK, own=True)
    step, named = state.get("step"), int(path.name.removeprefix("step_"))
    right_step = type(step) is int and step == named and step > 0
    if not right_step or not all(isinstance(state.get(kind), dict) for kind in DESCRIBED):
        raise ConfigError(f"{path / STATE} is not this checkpoint's.", GO_BACK)
    return state
