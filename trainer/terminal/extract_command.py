"""The terminal's command that extracts a LoRA from a fine-tuned checkpoint."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.model import ModelConfig
from ..config.result import check_output
from ..errors import ConfigError
from ..runs.events import Event, Finished
from .flags import add_events, at_least, finite
from .show import run_job

if TYPE_CHECKING:
    from ..runs.control import Control, Report

__all__ = ["add_extract"]


def add_extract(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `extract-lora`."""
    parser.add_argument("--base", required=True, help="the model that was fine-tuned")
    parser.add_argument("--tuned", required=True, help="the fine-tuned model")
    parser.add_argument("--output", required=True, help="LoRA file; ends in .safetensors")
    parser.add_argument(
        "--rank", type=at_least(1), default=64, help="largest rank of a layer (default: 64)"
    )
    parser.add_argument(
        "--energy", type=finite, default=1.0,
        help="share of each layer's change, as a sum of squares, at which its rank ends, such as "
        "0.9 (default: 1, the rank alone decides)",
    )  # fmt: skip
    parser.add_argument("--save-precision", choices=["fp16", "bf16", "fp32"], default="fp16")
    add_events(parser)
    parser.set_defaults(execute=run_extract)


def run_extract(options: argparse.Namespace) -> int:
    check_output(options.output)
    if not 0 < options.energy <= 1:
        raise ConfigError(f"energy is {options.energy}.", "Give a number above 0, at most 1.")

    def execute(report: Report, control: Control) -> Event:
        from ..worker.base.models import open_base
        from ..worker.trainable.extract import Extraction, extract_lora

        began = time.monotonic()
        base, tuned = (open_base(ModelConfig(path)) for path in (options.base, options.tuned))
        output, energy = Path(options.output), options.energy
        wanted = Extraction(base, tuned, output, options.rank, energy, options.save_precision)
        path, found = extract_lora(wanted, report, control)
        print(found.describe(), file=sys.stderr)
        return Finished(0, str(path), "lora", time.monotonic() - began)

    return run_job(options, None, execute)
