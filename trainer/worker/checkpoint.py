"""The state from which a run goes on: adapter, optimizer and what the run was made from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..config import Config
from ..errors import ConfigError
from ..run import replace, write_atomic
from .lora import Adapter

MAY_CHANGE = {"max_train_steps", "save_every", "checkpoints_total_limit", "output", "description"}
MAY_CHANGE |= {
    "gradient_checkpointing",
    "class_batch_size",
    "bad_images",
    "base",
    "vae",
    "instance_images",
    "class_images",
}
FOLDER = re.compile(r"step_(\d{6,})")


@dataclass(frozen=True)
class Inputs:
    """Contents that a run is made from, as fingerprints by name."""

    base: str
    vae: str
    images: Mapping[str, str]


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
    write_atomic(partial / "adapter.safetensors", save(adapter.weights(torch.float32)))
    write_atomic(partial / "optimizer.safetensors", save(optimizer_state(adapter, optimizer)))
    write_atomic(partial / "state.json", json.dumps({"step": step, **values}, indent=2))
    if final.exists():
        shutil.rmtree(final)
    replace(partial, final)
    return final


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
        shutil.rmtree(path, ignore_errors=True)  # a scanner may hold a file; it goes next time


def resume(
    path: Path, adapter: Adapter, optimizer: torch.optim.AdamW, described: Mapping[str, Any]
) -> dict[str, Any]:
    """Take up a checkpoint; gives its plain values, "step" among them.

    Raises:
        ConfigError: the run was made from something else; names what differs.
    """
    state = read_state(path)
    check_same(state, described, path)
    adapter.load(load_file(path / "adapter.safetensors"))
    load_optimizer_state(adapter, optimizer, load_file(path / "optimizer.safetensors"))
    return state


def read_state(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / "state.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"The checkpoint {path} cannot be read: {error}.",
            "Delete this folder to go on from the one before.",
        ) from error


def description(config: Config, inputs: Inputs) -> dict[str, Any]:
    """What a run is made from: its settings and the contents of its files."""
    settings = {name: value for name, value in config.flat().items() if name not in MAY_CHANGE}
    settings = {k: v for k, v in settings.items() if not k.startswith("sample_")}
    return {
        "settings": settings,
        "files": {"base": inputs.base, "vae": inputs.vae, **inputs.images},
    }


def check_same(state: Mapping[str, Any], described: Mapping[str, Any], path: Path) -> None:
    for kind in ("settings", "files"):
        before, now = state[kind], described[kind]
        changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if changed:
            raise ConfigError(
                f"{path.parent.parent.name} cannot go on: these {kind} are not those of the "
                f"stopped run: {', '.join(changed[:5])}.",
                "Put them back as they were, or start a new run.",
            )
