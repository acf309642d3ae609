"""The state from which a run goes on: adapter, optimizer and what the run was made from."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...config.config import Config
from ...errors import ConfigError
from ...files.atomic import replace_folder, write_atomic
from ...files.fingerprint import file_sha256
from ...files.input_file import check_is_file, read_object
from ...model_files.header import read_header
from ..trainable.lora import Adapter

MAY_CHANGE = {"max_train_steps", "save_every", "checkpoints_total_limit", "output", "description"}
MAY_CHANGE |= {
    "gradient_checkpointing",
    "class_batch_size",
    "train_batch_size",
    "gradient_accumulation_steps",
    "bad_images",
    "base",
    "vae",
    "instance_images",
    "class_images",
}
STEP_IMAGES = "train_batch_size x gradient_accumulation_steps x processes"
FILES = ("adapter.safetensors", "optimizer.safetensors", "state.json")
SUMS = "sha256.json"
DESCRIBED = ("settings", "files", "places of photos")  # the objects in state.json
MAX_STATE_BYTES = 10_000_000
GO_BACK = "Delete this checkpoint to go on from the one before, or start a new run."
FOLDER = re.compile(r"step_(\d{6,})")


@dataclass(frozen=True)
class Inputs:
    """Contents that a run is made from, as fingerprints by name, and the place of each photo."""

    base: str
    vae: str
    images: Mapping[str, str]
    places: Mapping[str, int]


def save_checkpoint(
    folder: Path,
    step: int,
    adapter: Adapter,
    optimizer: torch.optim.AdamW,
    values: Mapping[str, Any],
) -> Path:
    """Write step_000200/ whole or not at all.

    Args:
        values: plain values to keep: those of `description`, and the gradient scaler's.
    """
    final = folder / f"step_{step:06d}"
    partial = folder / f"{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    contents = (
        save(adapter.weights(torch.float32)),
        save(optimizer_state(adapter, optimizer)),
        json.dumps({"step": step, **values}, indent=2).encode(),
    )
    files = dict(zip(FILES, contents, strict=True))
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    try:
        for name, data in (files | {SUMS: json.dumps(sums, indent=2).encode()}).items():
            write_atomic(partial / name, data)
        replace_folder(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def state_bytes(adapter: Adapter) -> int:
    """The size of one checkpoint: each weight, and its two moments, in float32."""
    return sum(3 * 4 * parameter.numel() for parameter in adapter.parameters())


def optimizer_state(adapter: Adapter, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """AdamW's moments and step counts by the name of their weight."""
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, parameter in adapter.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizer_state(
    adapter: Adapter, optimizer: torch.optim.AdamW, state: Mapping[str, Tensor]
) -> None:
    """Take up moments; a weight that was never updated has none."""
    for name, parameter in adapter.named_parameters():
        if f"{name}.step" in state:
            optimizer.state[parameter] = {
                key: placed(key, state[f"{name}.{key}"], parameter)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }


def placed(key: str, value: Tensor, parameter: Tensor) -> Tensor:
    """AdamW keeps its step counts on the CPU and its moments beside the weight."""
    return value.clone() if key == "step" else value.to(parameter.device, copy=True)


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step_*") if FOLDER.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))


def prune(folder: Path, limit: int) -> None:
    """Remove the oldest checkpoints beyond the limit."""
    for path in checkpoints(folder)[:-limit]:
        going = path.with_name(f"{path.name}.partial")  # so that a kill leaves no half checkpoint
        with suppress(OSError):  # a scanner may hold a file; it goes next time
            path.replace(going)
            shutil.rmtree(going)


def newest_whole(folder: Path) -> tuple[Path | None, list[Path]]:
    """The newest checkpoint that is as it was written, and the damaged ones that are newer.

    Raises:
        ConfigError: there are checkpoints, and none is whole.
    """
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        if is_whole(path):
            return path, damaged
        damaged.append(path)
    if damaged:
        raise ConfigError(
            f"Every checkpoint in {folder} is damaged.",
            "Put them back from a backup, or start a new run in another folder.",
        )
    return None, []


def is_whole(path: Path) -> bool:
    """Whether every file of a checkpoint has the content that was written."""
    try:
        sums = read_object(path / SUMS, MAX_STATE_BYTES, GO_BACK)
        for name in FILES:
            check_is_file(path / name)  # a pipe would be waited for
        return sums == {name: file_sha256(path / name) for name in FILES}
    except (OSError, ConfigError):
        return False


def put_aside(path: Path) -> None:
    """Rename a damaged checkpoint, so that it is neither counted nor in the way of its step."""
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    replace_folder(path, aside)


def resume(
    path: Path, adapter: Adapter, optimizer: torch.optim.AdamW, described: Mapping[str, Any]
) -> dict[str, Any]:
    """Take up a checkpoint; gives its plain values, "step" among them.

    Raises:
        ConfigError: the run was made from something else, or the files are not of this adapter.
    """
    state = read_state(path)
    check_same(state, described, path)
    weights = read_tensors(path / "adapter.safetensors", adapter.weights(torch.float32))
    adapter.load(weights)
    saved = path / "optimizer.safetensors"
    moments = expected_moments(adapter, read_header(saved).tensors)
    load_optimizer_state(adapter, optimizer, read_tensors(saved, moments))
    return state


def expected_moments(adapter: Adapter, saved: Iterable[str]) -> dict[str, Tensor]:
    """What AdamW keeps of each weight; nothing of those that were never updated."""
    updated = {name.rpartition(".")[0] for name in saved}
    return {
        f"{name}.{key}": torch.zeros(()) if key == "step" else parameter
        for name, parameter in adapter.named_parameters()
        if name in updated
        for key in ("step", "exp_avg", "exp_avg_sq")
    }


def read_state(path: Path) -> dict[str, Any]:
    """A checkpoint's plain values.

    Raises:
        ConfigError: they are of the wrong types, or of another step than the folder's name says.
    """
    state = read_object(path / "state.json", MAX_STATE_BYTES, GO_BACK)
    step, objects = state.get("step"), (*DESCRIBED, *({"scaler"} & state.keys()))
    named = int(path.name.removeprefix("step_"))
    right_step = type(step) is int and step == named and step > 0
    if not right_step or not all(isinstance(state.get(kind), dict) for kind in objects):
        raise ConfigError(f"{path / 'state.json'} is not this checkpoint's.", GO_BACK)
    return state


def read_tensors(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, which must have the expected names, shapes and finite numbers."""
    read_header(path)  # says what is wrong with a file that is damaged
    found = load_file(path)
    for name in sorted({*found, *expected}):
        fits = name in found and name in expected and found[name].shape == expected[name].shape
        if not fits or found[name].dtype != torch.float32 or not found[name].isfinite().all():
            raise ConfigError(f"{path}: {name[:200]} is not of this run.", GO_BACK)
    return found


def description(config: Config, inputs: Inputs, num_processes: int = 1) -> dict[str, Any]:
    """What a run is made from: its settings and the contents of its files.

    How a step's images are divided among passes and processes is not among them: that changes no
    image, noise or weight in the loss.
    """
    training = config.training
    settings = {name: value for name, value in config.flat().items() if name not in MAY_CHANGE}
    settings = {k: v for k, v in settings.items() if not k.startswith("sample_")}
    step_images = training.train_batch_size * training.gradient_accumulation_steps * num_processes
    settings[STEP_IMAGES] = step_images
    return {
        "settings": settings,
        "files": {"base": inputs.base, "vae": inputs.vae, **inputs.images},
        "places of photos": dict(inputs.places),
    }


def check_same(state: Mapping[str, Any], described: Mapping[str, Any], path: Path) -> None:
    for kind in DESCRIBED:
        before, now = state[kind], described[kind]
        changed = [
            name[:80] for name in sorted({*before, *now}) if before.get(name) != now.get(name)
        ]
        if changed:
            raise ConfigError(
                f"{path.parent.parent.name} cannot go on: these {kind} are not those of the "
                f"stopped run: {', '.join(changed[:5])}.",
                "Put them back as they were, or start a new run.",
            )
