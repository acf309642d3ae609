"""The LoRAs of a run's kept checkpoints: each becomes a file of its own for the host."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..trainer.errors import ConfigError
from ..trainer.files.atomic import write_atomic, write_unique
from ..trainer.files.input_file import read_object
from ..trainer.files.own import is_own_file
from ..trainer.model_files.header import Header, read_header
from ..trainer.runs.run import Run

__all__ = ["kept_steps", "take_lora"]

FOLDER = re.compile(r"step_(\d{6,})")
WEIGHTS = "trained.safetensors"
MAX_CARD_BYTES = 1_000_000
ALPHA = ".alpha"


def kept_steps(run: Run, result: Path | None) -> list[int]:
    """Return the steps whose LoRA can be written next to a LoRA of the run, and is not yet."""
    if result is None:
        return []
    found = (FOLDER.fullmatch(path.name) for path in run.checkpoints.glob("step_*"))
    steps = sorted(int(match[1]) for match in found if match)
    return [
        step
        for step in steps
        if is_own_file(weights_of(run, step)) and not lora_of(run, step, result).exists()
    ]


def weights_of(run: Run, step: int) -> Path:
    return run.checkpoints / f"step_{step:06d}" / WEIGHTS


def lora_of(run: Run, step: int, result: Path) -> Path:
    return result.with_name(f"{run.folder.name}-step{step:08d}.safetensors")


def take_lora(run: Run, step: int, result: Path) -> Path:
    """Write the LoRA of a checkpoint next to one that the run has made; returns its path.

    It has the other's metadata and alphas, and the weights in the checkpoint's full precision.

    Raises:
        ConfigError: the run holds links, or the checkpoint is damaged or not of that LoRA.
    """
    run.check()
    if not is_own_file(weights_of(run, step)):
        raise ConfigError(
            f"Step {step} of {run.folder.name!r:.99} is not kept.", "Reload the page."
        )
    made, kept = read_header(result), read_header(weights_of(run, step))
    alphas = {name for name in made.tensors if name.endswith(ALPHA)}
    if made.tensors.keys() - alphas != kept.tensors.keys():
        raise ConfigError(f"Step {step} is not of {result.name}.", "Resume the run to its end.")

    def content(path: Path) -> bytes:
        own = {"ss_steps": str(step), "ss_output_name": path.stem, "modelspec.title": path.stem}
        return b"".join(
            file_parts({**made.metadata, **own}, [(kept, set(kept.tensors)), (made, alphas)])
        )

    wanted = lora_of(run, step, result)
    path = write_unique(wanted.parent, wanted.stem, wanted.suffix, content, (".json", ".png"))
    with suppress(ConfigError):  # a LoRA works without a card
        card = read_object(result.with_suffix(".json"), MAX_CARD_BYTES, "")
        write_atomic(path.with_suffix(".json"), json.dumps(card_of(card, step), indent=2))
    return path


def card_of(card: Mapping[str, Any], step: int) -> dict[str, Any]:
    notes = re.sub(r"for \d+ steps", f"for {step} steps", str(card.get("notes", "")), count=1)
    return {**card, "notes": notes}


def file_parts(
    metadata: Mapping[str, str], sources: list[tuple[Header, set[str]]]
) -> Iterator[bytes]:
    """Yield a safetensors file of some tensors of other files: its header, then the tensors."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts: list[bytes] = []
    end = 0
    for source, names in sources:
        data = source.path.read_bytes()[source.data_start :]
        for name in sorted(names):
            tensor = source.tensors[name]
            parts.append(data[tensor.start : tensor.end])
            begin, end = end, end + len(parts[-1])
            shape = list(tensor.shape)
            header[name] = {"dtype": tensor.dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    yield from parts
