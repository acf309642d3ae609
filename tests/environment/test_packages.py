"""What pip installs: only wheels, only with the locked hashes, torch from its index alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.wheels import index_of, make_archive, make_wheel, sha256
from trainer.environment import environment
from trainer.environment.installer import Installer
from trainer.environment.torch_source import TorchSource, expose_host_torch
from trainer.errors import ConfigError


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real environment with pip, which the tests of this file share."""
    folder = tmp_path_factory.mktemp("packages") / ".venv"
    Installer(folder, folder.with_name("log"), environment.worker_env(), print).create()
    return folder


@pytest.fixture
def installer(created: Path, tmp_path: Path) -> Installer:
    """An installer whose PyPI is the folder `pypi`."""
    (tmp_path / "pypi").mkdir()
    env = {
        **environment.worker_env(),
        "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_CACHE_DIR": str(tmp_path / "c"),
        "PIP_INDEX_URL": (tmp_path / "pypi/simple").as_uri(),
    }  # fmt: skip
    return Installer(created, tmp_path / "log", env, print)


def write_lock(folder: Path, *lines: str) -> Path:
    path = folder / "lock.txt"
    path.write_text("\n".join([*lines, ""]), "utf-8")
    return path


def ask(installer: Installer, module: str) -> str:
    """Import a module in the environment and return its text."""
    code = f"import {module}; print({module}.ORIGIN)"
    return subprocess.check_output([installer.python, "-I", "-c", code], text=True).strip()


def test_the_locked_file_is_installed_and_no_other(installer: Installer, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "pypi", "alone", "1.0", ["absent"], "ORIGIN = 'ours'")
    lock = write_lock(tmp_path, f"alone==1.0 --hash=sha256:{sha256(wheel)}")
    make_wheel(tmp_path / "pypi", "alone", "1.0-9", (), "ORIGIN = 'a later build'")
    index_of(tmp_path / "pypi")
    installer.install_locked(lock)
    assert ask(installer, "alone") == "ours"


def test_a_file_with_another_hash_is_refused(installer: Installer, tmp_path: Path) -> None:
    make_wheel(tmp_path / "pypi", "changed", "1.0")
    index_of(tmp_path / "pypi")
    lock = write_lock(tmp_path, f"changed==1.0 --hash=sha256:{'0' * 64}")
    with pytest.raises(ConfigError, match="(?i)hash|do not match"):
        installer.install_locked(lock)


def test_a_package_without_a_hash_is_refused(installer: Installer, tmp_path: Path) -> None:
    make_wheel(tmp_path / "pypi", "bare", "1.0")
    index_of(tmp_path / "pypi")
    with pytest.raises(ConfigError, match="(?i)hash"):
        installer.install_locked(write_lock(tmp_path, "bare==1.0"))


def test_no_package_is_built(installer: Installer, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    archive = make_archive(tmp_path / "pypi", "source", "1.0", f"open({str(mark)!r}, 'w')")
    index_of(tmp_path / "pypi")
    with pytest.raises(ConfigError, match="source"):
        installer.install_locked(
            write_lock(tmp_path, f"source==1.0 --hash=sha256:{sha256(archive)}")
        )
    with pytest.raises(ConfigError, match="source"):
        installer.install("source")
    assert not mark.exists()


@pytest.mark.parametrize("needs", [(), ("beside",)])
def test_torch_and_what_only_it_needs_come_from_its_index_alone(
    installer: Installer, tmp_path: Path, needs: Sequence[str]
) -> None:
    release = f"2.{len(needs)}.0"
    make_wheel(tmp_path / "own", "torch", f"{release}+cu126", needs, "ORIGIN = 'own'")
    make_wheel(tmp_path / "own", "beside", "1.0", (), "ORIGIN = 'own'")
    make_wheel(tmp_path / "pypi", "torch", f"{release}+cu126-9", needs, "ORIGIN = 'pypi'")
    make_wheel(tmp_path / "pypi", "beside", "9.0", (), "ORIGIN = 'pypi'")
    index_of(tmp_path / "pypi")
    installer.install_torch(f"{release}+cu126", index_of(tmp_path / "own"))
    assert [ask(installer, name) for name in ("torch", *needs)] == ["own"] * (1 + len(needs))
    installer.must([*installer.pip(), "uninstall", "-y", "torch", "beside"], "tidy up")


def test_a_hosts_torch_that_needs_other_versions_is_not_used(
    installer: Installer, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path / "pypi", "sympy", "1.14.0")
    index_of(tmp_path / "pypi")
    installer.install_locked(write_lock(tmp_path, f"sympy==1.14.0 --hash=sha256:{sha256(wheel)}"))
    description = tmp_path / "host" / "torch-2.6.0.dist-info"
    description.mkdir(parents=True)
    text = "Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\nRequires-Dist: sympy==1.13.1\n"
    (description / "METADATA").write_text(text, "utf-8")
    expose_host_torch(TorchSource("2.6.0", str(tmp_path / "host")), installer.site_packages)
    problem = installer.problem() or ""
    assert problem.startswith("torch 2.6.0 has requirement sympy==1.13.1"), problem
