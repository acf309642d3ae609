"""bitsandbytes and xformers: where they are installed, and what `doctor` says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trainer.environment import environment, installer, torch_source
from trainer.environment.installer import Installer
from trainer.environment.machine import describe_probe
from trainer.environment.torch_source import TorchSource, uses_gpu
from trainer.errors import ConfigError


@pytest.mark.parametrize(
    ("nvidia", "version", "wanted"),
    [
        (True, "2.13.0", True),
        (True, "2.13.0+cu126", True),
        (False, "2.13.0", False),
        (False, "2.13.0+cpu", False),
        (False, "2.12.1+rocm6.4", True),
        (False, "2.12.1+xpu", True),
    ],
)
def test_it_comes_where_its_wheel_has_kernels_for_the_gpu(
    monkeypatch: pytest.MonkeyPatch, nvidia: bool, version: str, wanted: bool
) -> None:
    monkeypatch.setattr(torch_source, "has_nvidia_gpu", lambda: nvidia)
    assert uses_gpu(TorchSource(version)) is wanted


class Recorded(Installer):
    """Notes what would be installed."""

    fails: str = ""
    installed: list[str]

    def create(self) -> None:
        type(self).installed = []

    def install_locked(self, lock: Path) -> None:
        if lock.stem == self.fails:
            raise ConfigError("install.py could not install it.", "Check the network.")
        self.installed.append(lock.stem)

    def problem(self) -> str | None:
        return None


@pytest.mark.parametrize(("gpu", "fails"), [(True, ""), (True, "gpu"), (False, "")])
def test_the_environment_is_complete_with_or_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, fails: str
) -> None:
    monkeypatch.setattr(installer, "Installer", Recorded)
    monkeypatch.setattr(Recorded, "fails", fails)
    monkeypatch.setattr(environment, "MARKER", tmp_path / "marker.json")
    monkeypatch.setattr(environment, "uses_gpu", lambda source: gpu)
    source = TorchSource("2.13.0", locked=True)
    monkeypatch.setattr(environment, "torch_sources", lambda tested: iter([source]))
    said: list[str] = []
    environment.rebuild(said.append)
    assert Recorded.installed == ["trainer", "torch", *(["gpu"] if gpu and not fails else [])]
    assert said[-1] == "The trainer's environment is ready."
    assert any("Without 8-bit optimizers" in line for line in said) is bool(fails)


BARE: dict[str, Any] = {
    "python": "3.11.1", "torch": "2.13.0+cpu", "torch_file": "/torch/__init__.py", "device": "cpu",
    "name": "x86_64", "cores": 2, "total": 1, "free": 1, "versions": {}, "faults": {}, "cuda": None,
}  # fmt: skip
BOTH = {"bitsandbytes": "0.50.2", "xformers": "0.0.35"}


@pytest.mark.parametrize(
    ("found", "bitsandbytes", "xformers"),
    [
        ({}, "only where a GPU can use it; for a CPU, run py -m pip", "for CUDA on Linux and"),
        (
            {"device": "cuda", "cuda": "13.0", "torch": "2.13.0"},
            "to get it, run py -m pip install --no-deps bitsandbytes",
            "to get it, run py -m pip install --no-deps xformers",
        ),
        (
            {"device": "cuda", "cuda": "12.6", "torch": "2.6.0+cu126"},
            "to get it, run",
            "torch 2.10 or newer; this is 2.6.0+cu126",
        ),
        (
            {"versions": BOTH, "faults": {"bitsandbytes": "", "xformers": "it needs torch==2.9"}},
            "bitsandbytes 0.50.2 for optimizer adamw8bit",
            "xformers 0.0.35 does not work: it needs torch==2.9",
        ),
    ],
)
def test_doctor_says_which_is_there_and_why(
    found: Mapping[str, Any], bitsandbytes: str, xformers: str
) -> None:
    lines = [line for line in describe_probe("py", {**BARE, **found}) if "Optional" in line]
    assert len(lines) == 2
    assert bitsandbytes in lines[0] and xformers in lines[1]
