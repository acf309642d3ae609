"""Hosts import the light half of the trainer at their start: it must cost next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.host_start import BEFORE, PACK, names_at_start

HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "PIL", "numpy"}
LIGHT = sorted(
    ".".join(path.relative_to(PACK).with_suffix("").parts)
    for path in (PACK / "trainer").rglob("*.py")
    if path.stem not in ("__init__", "__main__") and "worker" not in path.parts
)
IMPORT_ALL = f"""
import importlib, json, sys, {", ".join(BEFORE)}
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""
MOST_FOREIGN = 40


def newly_imported(names: list[str]) -> list[str]:
    """Return the modules that a fresh interpreter imports for these ones."""
    answer = subprocess.check_output([sys.executable, "-c", IMPORT_ALL, *names], cwd=PACK)
    return json.loads(answer)


def test_light_modules_import_nothing_heavy() -> None:
    imported = set(newly_imported(LIGHT))
    assert set(LIGHT) <= imported
    assert not HEAVY & {name.partition(".")[0] for name in imported}
    assert "trainer.worker" not in imported


def test_what_installs_packages_is_not_in_comfyui() -> None:
    """Only install.py and the terminal's commands build the environment."""
    imported = newly_imported(names_at_start("nodes"))
    assert "trainer.environment.environment" in imported
    assert "trainer.environment.installer" not in imported
    texts = [path.read_text("utf-8") for path in (PACK / "nodes").rglob("*.py")]
    assert len(texts) > 20 and not any("build(" in text for text in texts)


def test_a_hosts_start_imports_few_modules_of_others() -> None:
    for host in ("nodes", "a1111"):
        names = names_at_start(host)
        assert len(names) > 10
        imported = newly_imported(names)
        foreign = [name for name in imported if not name.startswith("trainer")]
        assert len(foreign) <= MOST_FOREIGN, foreign
