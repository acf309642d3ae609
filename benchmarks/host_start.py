"""What the trainer adds to the start of a host: processor time of the imports of its adapters.

    python -m benchmarks.host_start

Each attempt is a fresh interpreter that has imported what every host has, and that finds compiled
files as a host does at its second start.
"""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BEFORE", "PACK", "names_at_start"]

PACK = Path(__file__).parents[1]
ATTEMPTS = 21
BEFORE = ("argparse", "asyncio", "dataclasses", "hashlib", "platform", "subprocess", "time")
IMPORT_ALL = f"""
import importlib, json, sys, {", ".join(BEFORE)}
begin = time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(1000 * (time.process_time() - begin))
"""


def imports_at_start(host: str) -> Iterator[str]:
    for path in (PACK / host).glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            module = node.module or ""
            if module.startswith("trainer"):
                folder = PACK.joinpath(*module.split("."))
                whole = [f"{module}.{alias.name}" for alias in node.names]
                yield from whole if folder.is_dir() else [module]


def names_at_start(host: str) -> list[str]:
    """Return the trainer's modules that the adapters in the folder import when imported."""
    return sorted(set(imports_at_start(host)))


def milliseconds(names: list[str], compiled: str) -> float:
    env = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    return float(subprocess.check_output(command, env=env, cwd=PACK))


def main() -> None:
    with tempfile.TemporaryDirectory() as compiled:
        for host in ("nodes", "a1111"):
            names = names_at_start(host)
            milliseconds(names, compiled)  # compiles
            taken = [milliseconds(names, compiled) for _ in range(ATTEMPTS)]
            print(json.dumps({"host": host, "median_ms": round(statistics.median(taken), 1)}))


if __name__ == "__main__":
    main()
