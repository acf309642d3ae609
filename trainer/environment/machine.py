"""Describes a machine and its Python in lines for a person."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .torch_source import has_nvidia_gpu

__all__ = ["describe_host", "describe_worker"]

GIB = 1024**3
HOST_FOLDERS = {"custom_nodes": "ComfyUI", "extensions": "AUTOMATIC1111 or Forge"}
PARTS = ("diffusers", "transformers", "peft", "accelerate", "safetensors")
OPTIONAL = ("bitsandbytes", "xformers")
TIMEOUT_SEC = 300
PROBE = """
import importlib.metadata as metadata, json, platform, sys
import psutil, torch
device = "mps" if torch.backends.mps.is_available() else "cpu"
name, memory = platform.machine(), psutil.virtual_memory()
total, free = memory.total, memory.available
if torch.cuda.is_available():
    device, name = "cuda", torch.cuda.get_device_name()
    free, total = torch.cuda.mem_get_info()
versions = {}
for package in sys.argv[1:]:
    try:
        versions[package] = metadata.version(package)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({
    "python": platform.python_version(), "torch": torch.__version__, "torch_file": torch.__file__,
    "device": device, "name": name, "cores": psutil.cpu_count(), "total": total, "free": free,
    "versions": versions,
}))
"""


def describe_host(pack: Path) -> list[str]:
    """Return where the pack is, its host, the system and the running Python."""
    host = HOST_FOLDERS.get(pack.parent.name, "none; used from the terminal")
    return [
        f"Pack: {pack}",
        f"Host: {host}",
        f"System: {platform.platform()}",
        f"Started by: Python {platform.python_version()}, {sys.executable}",
    ]


def describe_worker(command: list[str], env: Mapping[str, str]) -> list[str]:
    """Return what the worker's Python has and can use.

    Args:
        command: the command of the worker's Python, without a program to run.
    """
    answer = subprocess.run(
        [*command, "-c", PROBE, *PARTS, *OPTIONAL],
        capture_output=True,
        env=dict(env),
        encoding="utf-8",
        errors="replace",
        timeout=TIMEOUT_SEC,
    )
    if answer.returncode:
        return [f"Worker: {command[0]} does not work. {answer.stderr.strip()}"]
    return describe_probe(command[0], json.loads(answer.stdout))


def describe_probe(python: str, found: Mapping[str, Any]) -> list[str]:
    versions: Mapping[str, str] = found["versions"]
    lines = [
        f"Worker: Python {found['python']}, {python}",
        f"Torch: {found['torch']}, {Path(found['torch_file']).parent}",
        "Packages: " + ", ".join(f"{name} {versions.get(name, 'missing')}" for name in PARTS),
        f"Device: {found['device']} ({found['name']}), {found['free'] / GIB:.1f} of "
        f"{found['total'] / GIB:.1f} GiB memory free, {found['cores']} CPU cores",
        "Optional: "
        + ", ".join(f"{name} {versions.get(name, 'not installed')}" for name in OPTIONAL)
        + "; torch's own AdamW and attention are used",
    ]
    if has_nvidia_gpu() and found["device"] != "cuda":
        lines.append("An NVIDIA driver is installed, but this torch does not use the GPU.")
    return lines
