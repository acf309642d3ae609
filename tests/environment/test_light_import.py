"""Hosts import the light half of the trainer at their start: it must cost next to nothing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
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


@pytest.fixture(scope="module")
def fresh_imports(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, list[str]]]:
    """Milliseconds and modules of several fresh interpreters, with compiled files as in a host."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", IMPORT_ALL, *LIGHT]
    answers = [subprocess.check_output(command, env=env, cwd=PACK) for _ in range(ATTEMPTS + 1)]
    return [tuple(json.loads(answer)) for answer in answers[1:]]  # the first one compiled them


def test_light_modules_import_nothing_heavy(
    fresh_imports: list[tuple[float, list[str]]],
) -> None:
    imported = set(fresh_imports[0][1])
    assert set(LIGHT) <= imported
    assert not HEAVY & imported
    assert "trainer.worker" not in imported


def test_light_modules_add_less_than_50_ms_to_a_hosts_start(
    fresh_imports: list[tuple[float, list[str]]],
) -> None:
    assert statistics.median(taken for taken, _ in fresh_imports) < MOST_MS
