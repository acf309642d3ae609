"""The torch of the environment: the host's if its version was tested, else one of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .programs import find_program, system_folder

__all__ = ["TorchSource", "expose_host_torch", "has_nvidia_gpu", "torch_sources", "uses_gpu"]

OLDEST, NEWEST = (2, 6), (2, 15)  # the minor versions of a host's torch that were tested
INDEX = "https://download.pytorch.org/whl"
TIMEOUT_SEC = 5
GPU_TIMEOUT_SEC = 60  # the driver may have to wake up first
TURING = 7.5  # the oldest capability for which torch's builds for CUDA 13 have code
BLACKWELL = 10.0  # the first for which its build for CUDA 12.6 has none
CUDA_13_DRIVER = 580
OTHER_GPUS = re.compile(r"\+(rocm|xpu)")  # torch's builds for AMD's and Intel's
BINARY_PARTS = re.compile(r"(nvidia|cuda|triton|pytorch-triton|rocm)\b")  # next to torch


@dataclass(frozen=True)
class TorchSource:
    """A torch to install, or the host's to use in place.

    Args:
        version: as pip writes it, such as 2.13.0 or 2.13.0+cu130.
        folder: the host's site-packages whose torch is used; empty: torch is installed.
        index: the only package index that it is installed from; empty: PyPI.
        locked: whether the lock has the hashes of this build, which is PyPI's.
    """

    version: str
    folder: str = ""
    index: str = ""
    locked: bool = False

    def __str__(self) -> str:
        return f"the host's torch {self.version}" if self.folder else f"torch {self.version}"

    def still_there(self) -> bool:
        """Whether the host still has this exact torch; always true of one that we installed."""
        return not self.folder or Path(self.folder, f"torch-{self.version}.dist-info").is_dir()


def torch_sources(tested: str) -> Iterator[TorchSource]:
    """Yield the torch to use, best first.

    Args:
        tested: the version to install on this system if the host's cannot be used.
    """
    if host := host_torch():
        yield host
    yield own_torch(tested)


def host_torch() -> TorchSource | None:
    """Return the running Python's torch if its version was tested, without importing it."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution("torch")
    except PackageNotFoundError:
        return None
    source = TorchSource(found.version, str(Path(str(found.locate_file(""))).absolute()))
    tested = OLDEST <= minor_version(source.version) <= NEWEST
    return source if tested and source.still_there() else None


def minor_version(version: str) -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


@dataclass(frozen=True, order=True)
class Gpu:
    """An NVIDIA GPU.

    Args:
        capability: its CUDA compute capability, 8.6 for most of the RTX 30 series.
        driver: its driver's major version.
    """

    capability: float
    driver: int

    @property
    def needs_cuda_12(self) -> bool:
        """Whether torch's usual build, for CUDA 13, fails on it and the one for CUDA 12 works.

        Source: PyTorch's RELEASE.md, CUDA support matrix; CUDA 13's release notes.
        """
        old = self.capability < TURING or self.driver < CUDA_13_DRIVER
        return old and self.capability < BLACKWELL


def own_torch(tested: str) -> TorchSource:
    """Return the build of torch for this machine's system and GPU."""
    if has_nvidia_gpu():
        best = max(nvidia_gpus(), default=None)  # torch also uses the fastest first
        if best and best.needs_cuda_12:
            return TorchSource(f"{tested}+cu126", index=f"{INDEX}/cu126")
        if sys.platform == "win32":  # PyPI has no CUDA build for Windows
            return TorchSource(f"{tested}+cu130", index=f"{INDEX}/cu130")
        return TorchSource(tested, locked=True)
    if sys.platform != "linux":
        return TorchSource(tested, locked=True)
    if reachable(f"{INDEX}/cpu/torch/"):
        return TorchSource(tested, index=f"{INDEX}/cpu")  # PyPI's CUDA build is gigabytes larger
    return TorchSource(tested)  # from wherever pip is set up to find it: no build is preferred


def uses_gpu(source: TorchSource) -> bool:
    """Whether bitsandbytes' wheel has kernels for the GPU that this torch computes on."""
    return has_nvidia_gpu() or OTHER_GPUS.search(source.version) is not None


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is installed; needs no torch."""
    return (
        find_program("nvidia-smi") is not None
        or Path("/proc/driver/nvidia/version").exists()
        or (system_folder() / "nvcuda.dll").exists()
    )


def nvidia_gpus() -> list[Gpu]:
    """Return the GPUs that nvidia-smi lists; none if it is missing or too old."""
    program = find_program("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=compute_cap,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=GPU_TIMEOUT_SEC)
        rows = [line.split(",") for line in answer.stdout.splitlines()]
        return [Gpu(float(capability), int(driver.split(".")[0])) for capability, driver in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def reachable(address: str) -> bool:
    """Whether an address answers within a few seconds."""
    import urllib.request

    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SEC):
            return True
    except OSError:
        return False


def expose_host_torch(source: TorchSource, site_packages: Path) -> None:
    """Let an environment import the host's torch, and nothing else of the host.

    Metadata without its binary dependencies makes pip count it as installed. Python finds it by
    an import hook, since a path entry would expose every package of the host.
    """
    description = site_packages / f"torch-{source.version}.dist-info"
    description.mkdir()
    (description / "METADATA").write_text(host_metadata(source), "utf-8")
    (description / "top_level.txt").write_text("torch\ntorchgen\nfunctorch\n", "utf-8")
    (site_packages / "_host_torch.py").write_text(HOOK.format(folder=ascii(source.folder)), "utf-8")
    (site_packages / "host_torch.pth").write_text("import _host_torch\n", "utf-8")


def host_metadata(source: TorchSource) -> str:
    """Return the metadata of the host's torch, without the dependencies installed next to it."""
    from importlib.metadata import distributions

    found = next(iter(distributions(name="torch", path=[source.folder])))
    needed = [line for line in found.requires or [] if not BINARY_PARTS.match(line)]
    lines = ["Metadata-Version: 2.1", "Name: torch", f"Version: {source.version}"]
    return "\n".join([*lines, *(f"Requires-Dist: {line}" for line in needed), ""])


HOOK = '''"""Finds the host's torch and its dependencies, and nothing else of the host."""

import sys
from importlib.machinery import PathFinder

FOLDER = {folder}
NAMES = {{"torch", "torchgen", "functorch", "triton", "nvidia", "cuda"}}
NAMES |= {{"rocm_sdk", "_rocm_sdk_core"}}


class HostTorch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [FOLDER]) if path is None and name in NAMES else None


sys.meta_path.append(HostTorch)
'''
