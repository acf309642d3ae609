"""Fuzz what reads foreign files: `python -m benchmarks.faults.fuzz --minutes 10 [TARGET ...]`."""

from __future__ import annotations

import argparse
import json
import time
import traceback
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.helpers.bad_input import time_limit
from tests.helpers.fuzz_targets import TARGETS, Target

RESULTS = Path(__file__).parents[1] / "results" / "fuzz.json"
EXAMPLES = 2000  # of one seed
QUIET = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def fuzz(target: Target, minutes: float, first_seed: int) -> dict[str, Any]:
    """Run one target with one seed after the other; a crash is kept and the next seed follows."""
    found: dict[str, Any] = {"examples": 0, "slowest_ms": 0.0, "crashes": []}
    began = time.monotonic()

    def timed(value: Any) -> None:
        start = time.perf_counter()
        try:
            with time_limit():
                target.check(value)
        finally:
            found["examples"] += 1
            taken = (time.perf_counter() - start) * 1000
            found["slowest_ms"] = max(found["slowest_ms"], taken)

    for number in count(first_seed):
        if time.monotonic() - began > minutes * 60:
            return found | {
                "seeds": [first_seed, number - 1],
                "seconds": round(time.monotonic() - began, 1),
            }
        try:
            seed(number)(QUIET(given(target.inputs)(timed)))()
        except BaseException as error:  # TooSlow is none of Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            lines = traceback.format_exception(error)
            found["crashes"].append({"seed": number, "error": "".join(lines)[-3000:]})
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of: {', '.join(TARGETS)}; none: all")
    parser.add_argument("--minutes", type=float, default=10, help="for each target")
    parser.add_argument(
        "--seed", type=int, default=0, help="the first; each further run has the next"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    print(f"{'target':20} {'examples':>10} {'seconds':>8} {'crashes':>8} {'slowest ms':>11}")
    for name in options.targets or TARGETS:
        result = fuzz(TARGETS[name], options.minutes, options.seed)
        result["slowest_ms"] = round(result["slowest_ms"], 1)
        results = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
        results[name] = result  # read again: another process may run other targets
        options.output.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        print(
            f"{name:20} {result['examples']:10} {result['seconds']:8} {len(result['crashes']):8} "
            f"{result['slowest_ms']:11}",
            flush=True,
        )


if __name__ == "__main__":
    main()
