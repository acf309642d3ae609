"""The locks fit the ranges, for every system and Python, and list all that is installed."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from importlib import metadata
from typing import NamedTuple

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trainer.environment import environment, torch_source

SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}
MACHINES = {"linux": "x86_64", "windows": "AMD64", "macos": "arm64"}
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
NAMES = sorted(path.stem for path in environment.REQUIREMENTS.glob("*.txt"))
FILES = sorted(path.stem for path in (environment.REQUIREMENTS / "lock").glob("*.txt"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


class Pin(NamedTuple):
    """One entry of a lock."""

    requirement: Requirement
    version: str
    hashes: int


@cache
def pins(name: str) -> list[Pin]:
    """The entries of a lock."""
    text = environment.lock(name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [pin_of(line) for line in lines]


def pin_of(line: str) -> Pin:
    requirement = Requirement(line.partition("--hash")[0].strip())
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return Pin(requirement, specifier.version, len(HASH.findall(line)))


def machine(system: str, python: str) -> dict[str, str]:
    """What markers see on a system with a Python."""
    versions = {"python_version": python, "python_full_version": f"{python}.9"}
    here = {**default_environment(), **SYSTEMS[system], **versions}
    return {**here, "platform_machine": MACHINES[system]}


def ranges(name: str) -> list[Requirement]:
    """The lines of a list of requirements."""
    lines = (environment.REQUIREMENTS / f"{name}.txt").read_text("utf-8").splitlines()
    texts = [line.partition("#")[0].strip() for line in lines]
    return [Requirement(text) for text in texts if text]


def applies(requirement: Requirement, on: dict[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**on, "extra": extra})


def locked(on: dict[str, str]) -> dict[str, str]:
    """Versions by names of all that is locked for a machine."""
    found = [pin for name in FILES for pin in pins(name) if applies(pin.requirement, on)]
    versions = {canonicalize_name(pin.requirement.name): pin.version for pin in found}
    assert len(versions) == len(found), "a package has two versions"
    return versions


def test_each_list_has_a_lock() -> None:
    assert set(FILES) == {*NAMES, "torch"}


@pytest.mark.parametrize("name", FILES)
def test_each_version_has_hashes(name: str) -> None:
    assert pins(name)
    assert [pin.requirement.name for pin in pins(name) if not pin.hashes] == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_locked_versions_are_in_the_ranges(system: str, python: str) -> None:
    on = machine(system, python)
    versions = locked(on)
    wanted = [line for name in NAMES for line in ranges(name) if applies(line, on)]
    assert len(wanted) > 12
    for line in wanted:
        assert line.specifier.contains(versions[canonicalize_name(line.name)]), line


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_locked_packages_need_is_locked(system: str) -> None:
    """As their metadata say here; torch's own build here may be another than the locked one."""
    on = machine(system, "{}.{}".format(*sys.version_info))
    versions = locked(on)
    for name, version in versions.items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system
        if found.version != version:
            continue
        for needed in map(Requirement, found.requires or ()):
            if applies(needed, on):
                held = versions.get(canonicalize_name(needed.name))
                assert held is not None and needed.specifier.contains(held), (name, needed)


@pytest.mark.skipif("DREAMBOOTH_PYTHON" in os.environ, reason="another Python stands in")
def test_what_is_installed_is_locked() -> None:
    versions = locked({**default_environment(), "extra": ""})  # pyright: ignore - all are strings
    for found in metadata.distributions():
        name, version = canonicalize_name(found.metadata["Name"]), found.version.partition("+")[0]
        assert name == "pip" or versions.get(name) == version, name


@pytest.mark.parametrize(("platform", "system"), [("win32", "windows"), ("linux", "linux")])
def test_the_torch_to_install_is_the_locked_one(
    monkeypatch: pytest.MonkeyPatch, platform: str, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    version = environment.locked_torch()
    assert version == locked(machine(system, "3.12"))["torch"]
    assert torch_source.OLDEST <= torch_source.minor_version(version) <= torch_source.NEWEST


def test_a_hosts_torch_is_taken_from_where_the_range_begins() -> None:
    (line, *_) = [line for line in ranges("trainer") if line.name == "torch"]
    assert f">={'.'.join(map(str, torch_source.OLDEST))}" in str(line.specifier).split(",")
