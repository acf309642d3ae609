"""Fuzz run folders that others share: `python -m benchmarks.faults.fuzz_runs --minutes 10`.

Each seed is one run with links, pipes, folders in place of files and foreign text, which is then
listed, opened, resumed, reported on and discarded. Nothing outside of it may change.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from tests.helpers.shared_runs import attack

RESULTS = Path(__file__).parents[1] / "results" / "fuzz_runs.json"


def fuzz(folder: Path, minutes: float, first_seed: int) -> dict[str, Any]:
    """Try one seed after the other; a fault is kept and the next seed follows."""
    outcomes: Counter[str] = Counter()
    faults: list[dict[str, Any]] = []
    slowest, began = 0.0, time.monotonic()
    for seed in count(first_seed):
        start = time.monotonic()
        if start - began > minutes * 60:
            break
        place = folder / str(seed)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                outcomes += attack(seed, place)
        except BaseException as error:  # TooSlow is none of Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            lines = traceback.format_exception(error)
            faults.append({"seed": seed, "error": "".join(lines)[-2000:]})
            print(f"seed {seed}: {error!r:.300}", flush=True)
        slowest = max(slowest, time.monotonic() - start)
        shutil.rmtree(place)
    return {
        "seeds": [first_seed, seed - 1],
        "minutes": round((time.monotonic() - began) / 60, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_sec": round(slowest, 2),
        "faults": faults,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = fuzz(Path(folder), options.minutes, options.seed)
    options.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
