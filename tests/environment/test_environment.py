"""The private environment: when it is ready, what the worker gets, which torch it has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from trainer.environment import environment, torch_source
from trainer.environment.installer import (
    Installer,
    copy_embedded,
    embedded,
    last_error,
    locked,
)
from trainer.environment.programs import python_in
from trainer.environment.torch_source import TorchSource
from trainer.errors import ConfigError

OWN = TorchSource("2.13.0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment's place that has nothing in it yet, with a space and an accent."""
    place = tmp_path / "é pack" / ".venv"
    requirements = place.parent / "requirements"
    shutil.copytree(environment.REQUIREMENTS, requirements)
    monkeypatch.delenv("DREAMBOOTH_PYTHON", raising=False)
    monkeypatch.setattr(environment, "ENVIRONMENT", place)
    monkeypatch.setattr(environment, "REQUIREMENTS", requirements)
    monkeypatch.setattr(environment, "MARKER", place / "dreambooth.json")
    return place


@pytest.fixture
def bare_environment(folder: Path) -> Path:
    """A real environment without packages, and without its marker."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True)
    return folder


def test_without_environment_one_line_says_how_to_install(folder: Path) -> None:
    line = environment.missing()
    assert not environment.is_ready()
    assert line is not None and "\n" not in line
    assert "not installed" in line
    assert str(environment.PACK / "install.py") in line


def test_the_marker_makes_an_environment_ready(bare_environment: Path) -> None:
    assert not environment.is_ready()
    environment.write_marker(OWN)
    assert environment.is_ready()
    assert environment.missing() is None


def test_a_torn_marker_is_none(bare_environment: Path) -> None:
    environment.write_marker(OWN)
    environment.MARKER.write_text(environment.MARKER.read_text("utf-8")[:30], "utf-8")
    assert not environment.is_ready()


@pytest.mark.parametrize("name", ["trainer", "torch", "gpu"])
def test_a_changed_lock_puts_it_out_of_date(bare_environment: Path, name: str) -> None:
    environment.write_marker(OWN)
    with environment.lock(name).open("a", encoding="utf-8") as file:
        file.write("another\n")
    assert "out of date" in (environment.missing() or "")


@pytest.mark.parametrize("key", ["python", "torch"])
def test_what_it_was_made_of_must_still_be_there(bare_environment: Path, key: str) -> None:
    environment.write_marker(OWN)
    marker = json.loads(environment.MARKER.read_text("utf-8"))
    gone = str(bare_environment / "gone")
    marker[key] = gone if key == "python" else {"version": "2.13.0", "folder": gone, "index": ""}
    environment.MARKER.write_text(json.dumps(marker), "utf-8")
    assert not environment.is_ready()


def test_another_python_can_stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    environment.build(pytest.fail)
    assert environment.is_ready()
    assert environment.worker_command("x")[0] == sys.executable
    assert not folder.exists()


def test_another_python_must_be_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", str(folder / "python"))
    with pytest.raises(ConfigError, match="DREAMBOOTH_PYTHON .* is not a file"):
        environment.build(pytest.fail)


def test_the_environment_does_not_delete_the_python_that_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(folder))
    with pytest.raises(ConfigError, match="cannot install itself"):
        environment.build(pytest.fail)


def test_the_worker_sees_the_pack_and_nothing_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    env = environment.worker_env()
    command = environment.worker_command("tests.helpers.where")
    answer = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, encoding="utf-8")
    package = environment.PACK / "trainer" / "__init__.py"
    assert answer.stdout == f"{package} 1 '\\xe9'\n"
    assert "PYTHONHOME" not in env


def test_a_notebooks_way_to_plot_does_not_reach_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    command = [sys.executable, "-c", "import matplotlib.pyplot"]
    done = subprocess.run(command, env=environment.worker_env(), cwd=tmp_path)
    assert done.returncode == 0


def test_a_ready_environment_needs_no_lock(
    bare_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.write_marker(OWN)
    monkeypatch.setattr(environment, "LOCK", bare_environment / "read-only" / "lock")
    environment.build(pytest.fail)


def test_the_command_to_install_quotes_only_what_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACK", Path("/my pack"))
    monkeypatch.setattr(sys, "executable", "/bin/python")
    install = str(Path("/my pack/install.py"))
    assert environment.install_command() == f'/bin/python "{install}"'


def test_the_worker_does_not_use_the_network() -> None:
    env = environment.worker_env()
    assert env["HF_HUB_OFFLINE"] == env["TRANSFORMERS_OFFLINE"] == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_kept_unless_another_allocator_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert environment.worker_env()["MALLOC_TRIM_THRESHOLD_"] == "1073741824"
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    assert environment.worker_env()["MALLOC_TRIM_THRESHOLD_"] == "1"
    monkeypatch.setenv("LD_PRELOAD", "libjemalloc.so")
    assert environment.allocator_env() == {}


NAMES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


@pytest.mark.parametrize(
    ("inherited", "system", "expected"),
    [
        ({}, "linux", "expandable_segments:True"),
        ({}, "win32", None),
        ({}, "microsoft-standard-WSL2", None),
        ({NAMES[1]: "backend:cudaMallocAsync"}, "linux", "expandable_segments:True"),
        ({NAMES[1]: "backend:cudaMallocAsync"}, "win32", None),
        ({NAMES[0]: "max_split_size_mb:128"}, "linux", "max_split_size_mb:128"),
    ],
)
def test_memory_on_a_gpu_is_kept_as_the_user_says_and_never_as_comfyui_does(
    inherited: dict[str, str], system: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    if system == "win32":
        monkeypatch.setattr(sys, "platform", system)
    else:
        monkeypatch.setattr("platform.release", lambda: f"6.1-{system}")
    env = environment.worker_env()
    assert {env.get(name) for name in NAMES} - {None} == ({expected} - {None})


def test_doctor_says_what_is_missing(folder: Path) -> None:
    text = environment.doctor()
    assert "not installed" in text
    assert f"would get the host's torch {version('torch')}" in text


def test_doctor_says_what_the_worker_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    text = environment.doctor()
    for package in ("torch", "diffusers", "transformers"):
        assert version(package).split("+")[0] in text
    assert re.search(r"Device: \w+ \(.+\), [\d.]+ of [\d.]+ GiB memory free", text)


@pytest.mark.parametrize(
    ("found", "fits"),
    [("2.1.2", False), ("2.5.1+cu121", False), ("2.6.0", True), ("2.13.0+cu130", True),
     ("2.15.1", True), ("2.16.0.dev20261101", False), ("3.0", False), ("nightly", False)],
)  # fmt: skip
def test_the_hosts_torch_is_used_where_it_was_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str, fits: bool
) -> None:
    install_description(tmp_path, found)
    monkeypatch.syspath_prepend(tmp_path)
    expected = TorchSource(found, str(tmp_path)) if fits else None
    assert torch_source.host_torch() == expected


def test_a_host_without_torch_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert torch_source.host_torch() is None


def install_description(folder: Path, torch_version: str, *requires: str) -> None:
    """What pip leaves of a torch, without torch."""
    description = folder / f"torch-{torch_version}.dist-info"
    description.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: torch", f"Version: {torch_version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (description / "METADATA").write_text("\n".join([*lines, ""]), "utf-8")


@pytest.mark.parametrize(
    ("platform", "gpus", "online", "build"),
    [
        ("linux", "8.6, 580.65.06", True, ""),
        ("linux", "", True, ""),  # a driver without its tool
        ("linux", None, True, "cpu"),
        ("linux", None, False, ""),
        ("win32", "8.9, 581.29", True, "cu130"),
        ("win32", "12.0, 572.16", True, "cu130"),  # Blackwell: no older build has code for it
        ("win32", "6.1, 581.29", True, "cu126"),  # GTX 10xx
        ("win32", "7.5, 566.36", True, "cu126"),  # the driver is too old for CUDA 13
        ("linux", "5.2, 550.54.14\n8.6, 550.54.14", True, "cu126"),
        ("linux", "6.1, 580.65.06\n8.6, 580.65.06", True, ""),  # the better of both is used
        ("win32", 'Field "compute_cap" is not a valid field to query.', True, "cu130"),
        ("win32", None, True, ""),
        ("darwin", None, True, ""),
    ],
)
def test_own_torch_is_for_the_system_and_gpu(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    platform: str,
    gpus: str | None,
    online: bool,
    build: str,
) -> None:
    for name in ("nvidia-smi", "System32/nvidia-smi.exe") if gpus else ():
        tool = tmp_path / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!{sys.executable}\nprint({gpus!r})\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    monkeypatch.setattr(torch_source, "has_nvidia_gpu", lambda: gpus is not None)
    monkeypatch.setattr(torch_source, "reachable", lambda _address: online)
    monkeypatch.setattr(sys, "platform", platform)
    index = f"{torch_source.INDEX}/{build}" if build else ""
    found = torch_source.own_torch("2.13.0")
    local = "" if build in ("", "cpu") else f"+{build}"
    assert (found.index, found.version) == (index, f"2.13.0{local}")
    configured = platform == "linux" and gpus is None and not online
    assert found.locked == (not build and not configured)


def test_an_address_that_does_not_answer_is_not_reachable() -> None:
    assert not torch_source.reachable("http://127.0.0.1:9/")


def test_of_the_hosts_packages_only_torch_is_seen(bare_environment: Path, tmp_path: Path) -> None:
    host = tmp_path / "hôte"
    for package in ("torch", "triton", "transformers"):
        (host / package).mkdir(parents=True)
        (host / package / "__init__.py").write_text("", "utf-8")
    install_description(
        host, "2.9.0+cu128", "filelock", "triton==3.5.0", 'nvidia-cudnn-cu12; extra == "x"'
    )
    installer = Installer(bare_environment, tmp_path / "log", environment.worker_env(), print)
    source = TorchSource("2.9.0+cu128", str(host))
    torch_source.expose_host_torch(source, installer.site_packages)
    code = (
        "import torch, triton\n"
        "from importlib import metadata, util\n"
        "print(torch.__file__, util.find_spec('transformers'))\n"
        "print(metadata.version('torch'), metadata.requires('torch'))"
    )
    answer = subprocess.run(
        [python_in(bare_environment), "-X", "utf8", "-c", code],
        capture_output=True,
        encoding="utf-8",
    )
    torch_file = host / "torch" / "__init__.py"
    assert answer.stdout == f"{torch_file} None\n2.9.0+cu128 ['filelock']\n", answer.stderr


def test_two_installations_wait_for_each_other(tmp_path: Path) -> None:
    told: list[str] = []
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        with locked(tmp_path / "lock", lambda line: (told.append(line), waiting.set())):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock", pytest.fail):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert told == ["Another process is installing the environment; waiting for it."]


def test_an_embedded_python_is_copied_without_its_packages(tmp_path: Path) -> None:
    host = tmp_path / "python_embeded"
    (host / "Lib" / "site-packages" / "torch").mkdir(parents=True)
    for name in ("python.exe", "python312.dll", "python312.zip"):
        (host / name).write_text(name, "utf-8")
    (host / "python312._pth").write_text("../ComfyUI\npython312.zip\n.\nimport site\n", "utf-8")
    assert embedded(host)
    copy_embedded(host, tmp_path / ".venv")
    paths = (tmp_path / ".venv" / "python312._pth").read_text("utf-8").splitlines()
    assert paths == ["python312.zip", ".", "Lib/site-packages", "..", "import site"]
    assert (tmp_path / ".venv" / "python.exe").exists()
    assert not list((tmp_path / ".venv" / "Lib" / "site-packages").iterdir())


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["WARNING: x", "ERROR: Cannot install torch.", "note", "ERROR: Impossible"],
         "Cannot install torch"),
        (["Traceback", "ImportError: no torch", ""], "ImportError: no torch"),
        ([], "no output"),
    ],
)  # fmt: skip
def test_the_error_that_matters_is_told(lines: list[str], error: str) -> None:
    assert last_error(lines) == error


@pytest.mark.parametrize(
    ("told", "remedy"),
    [
        ("HINT: this system does not have Windows Long Path support enabled", "closer"),
        ("HINT: See above for output from the failure.", "disk space"),
    ],
)
def test_what_to_do_follows_from_pips_own_hint(told: str, remedy: str, tmp_path: Path) -> None:
    installer = Installer(tmp_path, tmp_path / "log", environment.worker_env(), print)
    code = f"print('ERROR: [Errno 2] No such file'); print({told!r}); exit(1)"
    with pytest.raises(ConfigError, match="No such file") as caught:
        installer.must([sys.executable, "-c", code], "install")
    assert remedy in caught.value.hint


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "LOCK", folder / "no" / "such" / "folder")
    with pytest.raises(ConfigError, match="cannot be written"):
        environment.build(pytest.fail)
    assert not os.path.lexists(folder)
