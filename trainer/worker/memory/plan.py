"""Predict a training's memory and computation before anything is loaded or trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch

from ...config.checks import OF_TEXT
from ...config.config import Config
from ..base import models
from ..device.device import DTYPES, best_device, choose_precision
from ..device.memory import GIB, free_bytes
from ..drawing.class_images import choose_batch_size
from .costs import sampling_cost, sizes, text_cost, vae_cost
from .need import (
    CUDA_CONTEXT_BYTES,
    Machine,
    Passes,
    choose_passes,
    training_memory,
)
from .work import Work, count_work, generated

__all__ = [
    "Change",
    "Plan",
    "card",
    "describe_savings",
    "make_plan",
    "this_machine",
    "to_document",
]

Phases = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Change:
    """A setting that would save memory; the total is with it and all changes before it."""

    setting: str
    saved_bytes: int
    total_bytes: int
    cost: str


@dataclass(frozen=True)
class Plan:
    """The predicted bytes of every phase by kind, and the settings that would save some."""

    machine: Machine
    passes: Passes
    phases: Phases
    changes: Sequence[Change]
    work: Work

    @property
    def peak_bytes(self) -> int:
        """Return what the largest phase needs."""
        return max(sum(items.values()) for items in self.phases.values())

    @property
    def fits(self) -> bool:
        """Return whether the machine has enough memory for every phase."""
        return self.peak_bytes <= self.machine.usable_bytes


def this_machine(mixed_precision: str) -> Machine:
    """Return the device that a run on this machine would use."""
    device = best_device()
    dtype = DTYPES[choose_precision(mixed_precision, device)]
    program = psutil.Process().memory_info().rss if device == "cpu" else 0
    return Machine(device, dtype, free_bytes(torch.device(device)), program)


def card(mixed_precision: str, memory_gib: float) -> Machine:
    """Return a GPU with this much memory that no other program uses."""
    precision = "bf16" if mixed_precision == "auto" else mixed_precision
    return Machine("cuda", DTYPES[precision], round(memory_gib * GIB) - CUDA_CONTEXT_BYTES)


def make_plan(
    config: Config,
    machine: Machine,
    progress: Callable[[str], None] = lambda text: None,
    *,
    count_photos: bool = True,
) -> Plan:
    """Predict every phase of a run.

    Args:
        progress: called with what is predicted next, in words.
        count_photos: whether there are photos already.

    Raises:
        ConfigError: the base or the photos cannot be used.
    """
    progress("reading the model's structure")
    config = models.with_resolution(config)
    progress("a training step")
    passes = choose_passes(config, machine)
    progress("images, prompts and samples")
    phases = all_phases(config, machine)
    progress("what would save memory")
    changes = changes_that_help(config, machine, peak_bytes)
    progress("the work")
    work = count_work(config, machine, count_photos=count_photos)
    return Plan(machine, passes, phases, changes, work)


def all_phases(config: Config, machine: Machine) -> Phases:
    """Return the bytes by phase and kind, in the order of a run."""
    model, side, numbers = config.model, config.resolution, machine.numbers
    parts, on_cpu = sizes(model, machine.dtype), machine.device == "cpu"
    training = training_memory(config, machine, choose_passes(config, machine))
    decoding = vae_cost(model, side, decoding=True).peak_bytes
    encoding = vae_cost(model, side, decoding=False).peak_bytes
    draws = bool(generated(config))
    phases: dict[str, dict[str, int]] = {
        "text encoding": {
            "weights": parts.text_encoders,
            "activations": text_cost(model).peak_bytes,
        },
        "caching": {"weights": parts.vae, "activations": encoding},
        "training": training,
        "sampling": {
            **{kind: training[kind] for kind in ("weights", "trained", "optimizer")},
            "VAE": 0 if on_cpu else parts.vae,
            "activations": max(decoding, sampling_cost(model, numbers, 1, side).peak_bytes),
        },
    }
    if draws and parts.unet + parts.vae + encoding <= machine.usable_bytes:
        phases["caching"]["weights"] += parts.unet  # which otherwise makes room
    if draws:
        count = class_batch_size(config, machine)
        drawing = max(decoding, sampling_cost(model, numbers, count, side).peak_bytes)
        phases["class images"] = {"weights": parts.unet + parts.vae, "activations": drawing}
    program = {"program": machine.program_bytes} if on_cpu else {}
    return {name: {**program, **items} for name, items in phases.items()}


def class_batch_size(config: Config, machine: Machine) -> int:
    unet_bytes = sizes(config.model, machine.dtype).unet
    free = machine.free_bytes - unet_bytes
    chosen = choose_batch_size(config.resolution, machine.device, machine.dtype, free)
    return max(prior.class_batch_size or chosen for prior in generated(config))


def peak_bytes(config: Config, machine: Machine) -> int:
    """Return what a whole run needs."""
    return max(sum(items.values()) for items in all_phases(config, machine).values())


def training_bytes(config: Config, machine: Machine) -> int:
    """Return what training alone needs."""
    return sum(training_memory(config, machine, choose_passes(config, machine)).values())


def describe_savings(config: Config, machine: Machine) -> str:
    """Return one line that says how much memory each setting would save; "" if none would."""
    nothing_free = replace(machine, free_bytes=0)
    found = [
        f"{change.setting} saves {change.saved_bytes / GIB:.2f} GiB"
        for change in changes_that_help(config, nothing_free, training_bytes)
    ]
    return f"What would help, least harmful first: {'; '.join(found)}." if found else ""


def changes_that_help(
    config: Config, machine: Machine, needed: Callable[[Config, Machine], int]
) -> list[Change]:
    """Return settings that reduce what is needed, least harmful first, until it fits."""
    changes: list[Change] = []
    peak = needed(config, machine)
    for values, cost in smaller_settings(config, machine):
        if peak <= machine.usable_bytes:
            break
        config = lowered(config, values)
        if "mixed_precision" in values:
            machine = replace(machine, dtype=torch.bfloat16)
        smaller = needed(config, machine)
        if smaller < peak:
            setting = ", ".join(f"{name} {value}" for name, value in values.items())
            changes.append(Change(setting, peak - smaller, smaller, cost))
        peak = smaller
    return changes


def lowered(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the config with changed settings; a concept's resolution is never raised."""
    changed = config.with_values(**values)
    sides = [concept.instance.side for concept in config.concepts]
    concepts = tuple(
        replace(new, instance=replace(new.instance, resolution=min(side, new.instance.side)))
        for new, side in zip(changed.concepts, sides, strict=True)
    )
    return replace(changed, concepts=concepts)


def smaller_settings(config: Config, machine: Machine) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield settings to change, one after the other, and what each costs."""
    training, side, rank = config.training, config.resolution, config.trained.rank
    if training.gradient_checkpointing == "off":
        yield {"gradient_checkpointing": "on"}, "about 40 % slower, same result"
    if any(prior.class_batch_size != 1 for prior in generated(config)):
        yield {"class_batch_size": 1}, "class images are generated one at a time"
    if training.mixed_precision == "no":
        yield {"mixed_precision": "bf16"}, "the frozen base is rounded"
    whole = config.model.base_precision == "auto" and not config.trained.is_full
    if whole and machine.device != "mps":  # which has no such numbers
        yield {"base_precision": "fp8"}, "slower, the frozen base is rounded"
    if config.trained.train_text_encoder:
        unused = [name for name in OF_TEXT if getattr(training, name) is not None]
        values = {"train_text_encoder": False, **dict.fromkeys(unused)}
        yield values, "only the U-Net learns the new word"
    if rank > 4 and not config.trained.is_full:
        yield {"rank": max(4, rank // 4)}, "the LoRA can learn less"
    for share in (0.75, 0.5):
        if round(side * share / 64) * 64 >= 256:
            yield {"resolution": round(side * share / 64) * 64}, "less detail is learned"


def to_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values."""
    return {
        "device": plan.machine.device,
        "dtype": str(plan.machine.dtype).removeprefix("torch."),
        "gradient_checkpointing": plan.passes.checkpointing,
        "images_per_pass": plan.passes.num_images,
        "free_bytes": plan.machine.free_bytes,
        "usable_bytes": plan.machine.usable_bytes,
        "peak_bytes": plan.peak_bytes,
        "fits": plan.fits,
        "phases": plan.phases,
        "changes": [asdict(change) for change in plan.changes],
        "work": asdict(plan.work),
    }
