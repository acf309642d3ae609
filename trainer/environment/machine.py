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

__all__ = ["describe_host", "describe_probe", "describe_worker"]

GIB = 1024**3
HOST_FOLDERS = {"custom_nodes": "ComfyUI", "extensions": "AUTOMATIC1111 or Forge"}
PARTS = ("diffusers", "transformers", "peft", "accelerate", "safetensors")
OPTIONAL = ("bitsandbytes", "xformers")
USES = {
    "bitsandbytes": "for optimizer adamw8bit and paged_adamw8bit, base_precision int8 and nf4",
    "xformers": "for attention xformers; torch's own attention is used without it",
}
OLDEST_FOR_XFORMERS = (2, 10)  # torch, for the builds that do not depend on its exact version
TIMEOUT_SEC = 300
PROBE = """
import importlib, importlib.metadata as metadata, json, platform, sys
import psutil, torch
from packaging.requirements import Requirement

def fault_of(package):
    for line in metadata.requires(package) or ():
        needed = Requirement(line)
        if needed.name == "torch" and not needed.specifier.contains(torch.__version__, True):
            return f"it needs torch{needed.specifier}"
    try:
        importlib.import_module({"xformers": "xformers.ops"}.get(package, package))
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\\n")[0]
    return ""

device = "mps" if torch.backends.mps.is_available() else "cpu"
name, memory = platform.machine(), psutil.virtual_memory()
total, free = memory.total, memory.available
if torch.cuda.is_available():
    device, name = "cuda", torch.cuda.get_device_name()
    free, total = torch.cuda.mem_get_info()
versions, faults = {}, {}
for package in sys.argv[1:]:
    try:
        versions[package] = metadata.version(package)
        if package in ("bitsandbytes", "xformers"):
            faults[package] = fault_of(package)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps({
    "python": platform.python_version(), "torch": torch.__version__, "torch_file": torch.__file__,
    "device": device, "name": name, "cores": psutil.cpu_count(), "total": total, "free": free,
    "versions": versions, "faults": faults, "cuda": torch.version.cuda,
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
    """Return what the worker's Python answered, in lines for a person."""
    versions: Mapping[str, str] = found["versions"]
    lines = [
        f"Worker: Python {found['python']}, {python}",
        f"Torch: {found['torch']}, {Path(found['torch_file']).parent}",
        "Packages: " + ", ".join(f"{name} {versions.get(name, 'missing')}" for name in PARTS),
        f"Device: {found['device']} ({found['name']}), {found['free'] / GIB:.1f} of "
        f"{found['total'] / GIB:.1f} GiB memory free, {found['cores']} CPU cores",
        *(f"Optional: {describe_optional(python, name, found)}" for name in OPTIONAL),
    ]
    if has_nvidia_gpu() and found["device"] != "cuda":
        lines.append("An NVIDIA driver is installed, but this torch does not use the GPU.")
    return lines


def describe_optional(python: str, name: str, found: Mapping[str, Any]) -> str:
    """Return whether an optional package is there and works, or why it is not there."""
    version = found["versions"].get(name)
    if version is not None:
        fault = found["faults"][name]
        return f"{name} {version} " + (f"does not work: {fault}" if fault else USES[name])
    why = {"bitsandbytes": why_no_bitsandbytes, "xformers": why_no_xformers}[name](found)
    command = f"{python} -m pip install --no-deps {name}"
    return f"{name} is not installed ({USES[name]}): {why.format(command=command)}"


def why_no_bitsandbytes(found: Mapping[str, Any]) -> str:
    if found["device"] == "cuda":
        return "to get it, run {command}"
    return "it comes with the environment only where a GPU can use it; for a CPU, run {command}"


def why_no_xformers(found: Mapping[str, Any]) -> str:
    major, minor = map(int, found["torch"].split(".")[:2])
    if found["cuda"] is None or (major, minor) < OLDEST_FOR_XFORMERS or sys.platform == "darwin":
        return (
            "its builds are for CUDA on Linux and Windows, and torch "
            f"{'.'.join(map(str, OLDEST_FOR_XFORMERS))} or newer; this is {found['torch']}"
        )
    return "to get it, run {command}"
