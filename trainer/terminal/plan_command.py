"""The terminal's `plan`: what a training will need, estimated before anything is loaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from ..config.config import Config
from ..errors import ConfigError
from .flags import finite

__all__ = ["add_plan_flags", "show_plan"]

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


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `plan`, except the settings."""
    parser.add_argument("--memory", type=finite, metavar="GIB", help="plan for a GPU of this size")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def show_plan(config: Config, options: argparse.Namespace) -> int:
    """Print the plan and return the exit code: 0, even if the training does not fit."""
    from ..worker.memory.plan import card, make_plan, this_machine, to_document

    precision = config.training.mixed_precision
    if options.memory is None:
        machine = this_machine(precision)
    elif options.memory > 0:
        machine = card(precision, options.memory)
    else:
        raise ConfigError(f"--memory is {options.memory:g}.", "Give the GPU's memory in GiB.")
    document = to_document(make_plan(config, machine))
    print(json.dumps(document, indent=2) if options.json else describe_plan(document))
    return 0


def describe_plan(plan: Mapping[str, Any]) -> str:
    """Return the plan as a short table, with what to change if it does not fit."""
    checkpointing = "on" if plan["gradient_checkpointing"] else "off"
    lines = [
        f"Device: {plan['device']} in {plan['dtype']}, gradient checkpointing {checkpointing}",
        "",
        *table(plan["phases"]),
        "",
        f"Needed: {gib(plan['peak_bytes'])} GiB. Usable: {gib(plan['usable_bytes'])} GiB.",
    ]
    if not plan["fits"]:
        lines += ["It does not fit. These changes would help, the least harmful first:"]
        lines += [describe_change(change) for change in plan["changes"]]
        if not plan["changes"] or plan["changes"][-1]["total_bytes"] > plan["usable_bytes"]:
            lines.append("  Even so, it does not fit: use a device with more memory.")
    return "\n".join([*lines, "", *describe_work(plan["work"])])


def table(phases: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the lines of a table in GiB; rows are phases, columns kinds."""
    kinds = [kind for kind in KINDS if any(kind in items for items in phases.values())]
    rows = [["GiB", *kinds, "total"]]
    for name, items in phases.items():
        sizes = [gib(items[kind]) if kind in items else "" for kind in kinds]
        rows.append([name, *sizes, gib(sum(items.values()))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def gib(size: int) -> str:
    return f"{size / GIB:.2f}"


def describe_change(change: Mapping[str, Any]) -> str:
    saved, total = gib(change["saved_bytes"]), gib(change["total_bytes"])
    return f"  {change['setting']}: saves {saved} GiB, then needs {total} GiB; {change['cost']}"


def describe_work(work: Mapping[str, Any]) -> list[str]:
    step, total = work["tera_flop_per_step"], work["tera_flop_total"]
    return [
        f"Work: {work['num_photos']} photos, {work['num_class_images']} class images to generate "
        f"(fewer if some exist), {work['num_steps']} steps of {step:.2f} TFLOP; "
        f"{total:,.0f} TFLOP in total.",
        "The time depends on the device; training reports an estimate after a few steps.",
    ]
