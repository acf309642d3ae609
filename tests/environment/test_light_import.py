"""Hosts import the light half of the trainer at their start: it must cost next to nothing."""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACK = Path(__file__).parents[2]
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "PIL", "numpy"}
LIGHT = sorted(
    ".".join(path.relative_to(PACK).with_suffix("").parts)
    for path in (PACK / "trainer").rglob("*.py")
    if path.stem not in ("__init__", "__main__") and "worker" not in path.parts
)
MOST_MS, ATTEMPTS = 50, 5
# First what every host has imported itself. Processor time, since other processes may be at work.
IMPORT_ALL = """
import argparse, asyncio, dataclasses, hashlib, importlib, json, platform, subprocess, sys, time
begin = time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([1000 * (time.process_time() - begin), list(sys.modules)]))
"""


def imported_at_start(host: str) -> Iterator[str]:
    """Yield the trainer's modules that a host's adapters import when they are imported."""
    for path in (PACK / host).glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if isinstance(node, ast.ImportFrom) and node.level and module.startswith("trainer"):
                whole = [f"{module}.{alias.name}" for alias in node.names]
                yield from (name if name in LIGHT else module for name in whole)


def fresh_imports(names: Sequence[str], compiled: Path) -> list[tuple[float, list[str]]]:
    """Return milliseconds and modules of fresh interpreters, with compiled files as in a host."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(compiled)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    answers = [subprocess.check_output(command, env=env, cwd=PACK) for _ in range(ATTEMPTS + 1)]
    return [tuple(json.loads(answer)) for answer in answers[1:]]  # the first one compiled them


def test_light_modules_import_nothing_heavy(tmp_path: Path) -> None:
    _, modules = fresh_imports(LIGHT, tmp_path)[0]
    imported = set(modules)
    assert set(LIGHT) <= imported
    assert not HEAVY & imported
    assert "trainer.worker" not in imported


@pytest.mark.parametrize("host", ["nodes", "a1111"])
def test_the_trainer_adds_less_than_50_ms_to_a_hosts_start(host: str, tmp_path: Path) -> None:
    names = sorted(set(imported_at_start(host)))
    assert len(names) > 10
    taken = [milliseconds for milliseconds, _ in fresh_imports(names, tmp_path)]
    assert statistics.median(taken) < MOST_MS
