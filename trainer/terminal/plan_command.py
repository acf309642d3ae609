"""The terminal's `plan`: what a training will need, estimated before anything is loaded."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..config.config import CONCEPTS, Config
from ..errors import ConfigError
from ..model_files.families import FamilyName
from ..model_files.published import outline
from .flags import finite
from .show import TerminalReport

__all__ = ["add_plan_flags", "show_plan", "with_planned_base"]

GIB = 1024**3
KINDS = (
    "program",
    "weights",
    "VAE",
    "trained",
    "gradients",
    "optimizer",
    "activations",
    "workspace",
)
COMMON_CARDS = (6, 8, 10, 12, 16, 24, 32, 48, 80)  # GB
PLACES = {
    "cuda": "this computer's graphics card",
    "mps": "this Mac",
    "cpu": "this computer without its graphics card (on the CPU)",
}
FAMILY_OF: dict[str, FamilyName] = {"sd15": "sd1", "sd2": "sd2", "sdxl": "sdxl"}  # by --kind
PHOTOS = "instance_images"
NOT_GIVEN = "not given"
# A plan hardly depends on these, so they need not be given.
UNIMPORTANT = {
    PHOTOS: NOT_GIVEN,
    "instance_prompt": "a photo of sks dog",
    "output": "a.safetensors",
}


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `plan`, except the settings."""
    parser.add_argument(
        "--kind", choices=list(FAMILY_OF),
        help="plan for a published model of this kind, in place of --base",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=finite, metavar="GB", help="plan for a graphics card of this size"
    )
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


@contextmanager
def with_planned_base(kind: str | None, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Provide the settings to plan with: those given, and what is missing but hardly matters.

    Args:
        kind: of the published model to plan for; None: the base that is given.

    Raises:
        ConfigError: there are both, or neither.
    """
    concept = {} if CONCEPTS in values else UNIMPORTANT
    values = {"output": UNIMPORTANT["output"], **concept, **values}
    if kind is None:
        if "base" not in values:
            hint = "Give --base FILE, or --kind sd15, sd2 or sdxl for a published model."
            raise ConfigError("There is no model to plan for.", hint)
        yield values
        return
    if "base" in values:
        raise ConfigError("base and --kind are both given.", "Remove one of the two.")
    if kind == "sd2":  # as the published model at 768 px
        values = {"prediction_type": "v_prediction", **values}
    with outline(FAMILY_OF[kind]) as file:
        yield values | {"base": str(file)}


def show_plan(config: Config, options: argparse.Namespace) -> int:
    """Print the plan and return the exit code: 0, even if the training does not fit."""
    shown = TerminalReport(sys.stderr)
    shown.progress("Planning, which takes up to two minutes …", final=not options.json)
    from ..worker.memory.plan import card, make_plan, this_machine, to_document

    precision = config.training.mixed_precision
    if options.memory is None:
        machine = this_machine(precision)
        place = PLACES[machine.device]
    elif options.memory > 0:
        machine = card(precision, options.memory)
        place = f"a card with {options.memory:g} GB"
    else:
        raise ConfigError(f"--memory is {options.memory:g}.", "Give the card's memory in GB.")
    plan = make_plan(
        config,
        machine,
        lambda text: shown.progress(f"Planning: {text} …", final=False),
        count_photos=config.concepts[0].instance.instance_images != (NOT_GIVEN,),
    )
    shown.clear()
    document = to_document(plan)
    print(json.dumps(document, indent=2) if options.json else describe_plan(document, place))
    return 0


def describe_plan(plan: Mapping[str, Any], place: str) -> str:
    """Return the plan in words, with what to change if it does not fit.

    Args:
        place: what it is made for.
    """
    needed, usable = gib(plan["peak_bytes"]), gib(plan["usable_bytes"])
    fits = "fits" if plan["fits"] else "does not fit"
    lines = [
        f"This training {fits} {place}: it needs {needed} GiB at most, and {usable} GiB can be "
        f"used. This is a prediction.",
        *([] if plan["fits"] else what_to_change(plan)),
        "",
        "Memory of each stage in GiB:",
        *table(plan["phases"]),
        "",
        *describe_work(plan["work"]),
        checkpointing_text(plan),
    ]
    return "\n".join(lines)


def checkpointing_text(plan: Mapping[str, Any]) -> str:
    numbers = f"It computes in {plan['dtype']}"
    if plan["gradient_checkpointing"]:
        return f"{numbers}, with gradient checkpointing: about 40 % slower, the same result."
    return f"{numbers}, without gradient checkpointing."


def what_to_change(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines on a training that does not fit."""
    changes = plan["changes"]
    if changes:
        yield ""
        yield "What to change, the least harmful first; each line counts with those above it:"
        yield from map(describe_change, changes)
    if not changes or changes[-1]["total_bytes"] > plan["usable_bytes"]:
        yield "Even so, it does not fit: use a smaller model or a card with more memory."
    else:
        yield f"To make it fit, add: {' '.join(flags(change) for change in changes)}"
    if plan["device"] == "cuda" and (size := smallest_card(plan["peak_bytes"])):
        yield f"As it is, it needs a card with {size} GB."


def smallest_card(needed: int) -> int | None:
    """Return the size in GB of the smallest common card that has this much usable memory."""
    from ..worker.memory.plan import card

    return next((size for size in COMMON_CARDS if card("auto", size).usable_bytes >= needed), None)


def table(phases: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the lines of a table in GiB; rows are phases, columns kinds."""
    kinds = [kind for kind in KINDS if any(kind in items for items in phases.values())]
    rows = [["", *kinds, "total"]]
    for name, items in phases.items():
        sizes = [gib(items[kind]) if kind in items else "" for kind in kinds]
        rows.append([name, *sizes, gib(sum(items.values()))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def gib(size: int) -> str:
    return f"{size / GIB:.1f}"


def describe_change(change: Mapping[str, Any]) -> str:
    saved, total = gib(change["saved_bytes"]), gib(change["total_bytes"])
    return f"  {flags(change)}: saves {saved} GiB, then needs {total} GiB; {change['cost']}"


def flags(change: Mapping[str, Any]) -> str:
    """Return a change's settings as flags."""
    pairs = (setting.split(" ") for setting in change["setting"].split(", "))
    return " ".join(f"--{name.replace('_', '-')} {value.lower()}" for name, value in pairs)


def describe_work(work: Mapping[str, Any]) -> Iterator[str]:
    photos = f" on {work['num_photos']} photos" if work["num_photos"] else ""
    yield f"Work: {work['num_steps']} steps{photos}."
    if count := work["num_class_images"]:
        yield f"Before them, {count} class images are generated, unless earlier ones can be reused."
    yield "How long it takes depends on the device: training says so after its first steps."
