"""install.py and dreambooth.py as hosts and users start them, in a copy of the pack."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trainer.environment import environment
from trainer.environment.programs import python_in

PACK = Path(__file__).parents[2]
Start = Callable[..., subprocess.CompletedProcess[str]]
NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A copy of what installs the environment, under a name with a space and an accent."""
    copy = tmp_path / "custom_nodes" / "é pack"
    others = shutil.ignore_patterns("worker", "__pycache__")
    shutil.copytree(PACK / "trainer", copy / "trainer", ignore=others)
    shutil.copytree(PACK / "requirements", copy / "requirements")
    (copy / "tests").mkdir()  # the command `test` exists where tests do
    for name in ("install.py", "dreambooth.py"):
        shutil.copy(PACK / name, copy)
    return copy


@pytest.fixture
def start(pack: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run a script of the copy in the folder of its host."""
    monkeypatch.delenv("DREAMBOOTH_PYTHON", raising=False)

    def run(
        script: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-X", "utf8", str(pack / script), *arguments],
            env={**environment.worker_env(), "PYTHONPATH": "", **(env or {})},
            cwd=pack.parents[1],
            capture_output=True,
            encoding="utf-8",
        )

    return run


def make_webui(root: Path) -> dict[str, str]:
    """Create the files by which A1111 is known, and return its environment variables."""
    (root / "modules").mkdir()
    (root / "launch.py").touch()
    (root / "modules" / "launch_utils.py").touch()
    return {"PYTHONPATH": f"{root}:" if sys.platform != "win32" else f"{root};"}


def test_the_start_of_a_webui_waits_for_no_installation(start: Start, pack: Path) -> None:
    env = make_webui(pack.parents[1])
    begin = time.perf_counter()
    answer = start("install.py", env=env)
    assert time.perf_counter() - begin < 1
    assert answer.returncode == 0
    assert len(answer.stdout.splitlines()) == 1
    assert str(pack / "install.py") in answer.stdout
    assert not (pack / ".venv").exists()


def test_by_hand_in_a_webui_it_installs(start: Start, pack: Path) -> None:
    make_webui(pack.parents[1])
    assert start("install.py", env=NO_NETWORK).returncode == 1
    assert (pack / ".venv").exists()


def test_with_nothing_to_do_it_says_nothing(start: Start) -> None:
    begin = time.perf_counter()
    answer = start("install.py", env={"DREAMBOOTH_PYTHON": sys.executable})
    assert time.perf_counter() - begin < 1
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_without_network_one_line_says_what_is_missing(start: Start, pack: Path) -> None:
    answer = start("install.py", env=NO_NETWORK)
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert "could not install the trainer's packages" in line
    assert "network" in line
    assert "not installed" in start("dreambooth.py", "doctor").stdout
    assert not (pack / ".venv" / "dreambooth.json").exists()


def test_the_launcher_without_a_command_lists_them(start: Start) -> None:
    answer = start("dreambooth.py")
    assert answer.returncode == 0
    for command in ("train", "class-images", "doctor", "test"):
        assert f"  {command} " in answer.stdout


def test_an_unknown_command_is_refused_with_the_nearest(start: Start, pack: Path) -> None:
    answer = start("dreambooth.py", "trian")
    assert answer.returncode == 2
    assert "'train'" in answer.stderr
    assert not (pack / ".venv").exists()


def test_an_unknown_flag_is_refused_before_anything_is_installed(start: Start, pack: Path) -> None:
    answer = start("dreambooth.py", "train", "--bas", "model.safetensors")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == "Error: There is no flag --bas. Did you mean '--base'?\n"
    assert not (pack / ".venv").exists()


def test_help_needs_no_environment(start: Start, pack: Path) -> None:
    answer = start("dreambooth.py", "train", "--help")
    assert answer.returncode == 0
    assert "--instance-images" in answer.stdout
    assert not (pack / ".venv").exists()


def test_a_python_that_is_not_there_is_reported(start: Start) -> None:
    answer = start("dreambooth.py", "train", env={"DREAMBOOTH_PYTHON": "/no/python"})
    assert answer.returncode == 1
    assert answer.stderr.startswith("DREAMBOOTH_PYTHON '/no/python' is not a file.")


def test_arguments_and_exit_code_pass_through(start: Start, pack: Path) -> None:
    test = pack / "test_two.py"
    test.write_text("def test_a(): pass\ndef test_b(): assert False\n", "utf-8")
    env = {"DREAMBOOTH_PYTHON": sys.executable}
    assert start("dreambooth.py", "test", "-k", "test_a", test.name, env=env).returncode == 0
    assert start("dreambooth.py", "test", test.name, env=env).returncode == 1
    assert start("dreambooth.py", "test", "no_file.py", env=env).returncode == 4


@pytest.mark.slow
def test_from_nothing_to_a_working_worker(start: Start, pack: Path) -> None:
    built = start("install.py")
    assert built.returncode == 0, built.stderr
    assert start("install.py").stdout == ""
    assert "Environment: ready" in start("dreambooth.py", "doctor").stdout
    imports = [python_in(pack / ".venv"), "-c", "import torch, diffusers, transformers, peft"]
    assert subprocess.run(imports).returncode == 0
