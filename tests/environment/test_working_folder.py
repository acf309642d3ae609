"""Nothing in the folder in which a host or a command is started is executed or found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.webui_host import A1111
from trainer.environment import environment, programs, torch_source
from trainer.environment.installer import Installer
from trainer.runs import worker as worker_module
from trainer.runs.orders import Train

TRAP = "open({mark!r}, 'w').close(); raise SystemExit(7)\n"
HIDDEN = (
    "trainer", "pip", "venv", "ensurepip", "runpy", "accelerate", "torch", "json", "encodings",
)  # fmt: skip


def python_310() -> Path | None:
    """A Python 3.10, which has no PYTHONSAFEPATH; None if there is none."""
    places = [A1111.python, *sorted(Path.home().glob(".pyenv/versions/3.10.*/bin/python"))]
    on_path = shutil.which("python3.10")
    found = [*([Path(on_path)] if on_path else []), *places]
    return next((python for python in found if is_310(python)), None)


def is_310(python: Path) -> bool:
    try:
        answer = subprocess.run([python, "-V"], capture_output=True, text=True)
    except OSError:
        return False
    return answer.stdout.startswith("Python 3.10")


@pytest.fixture(params=["running", "3.10"])
def python(request: pytest.FixtureRequest) -> str:
    found = Path(sys.executable) if request.param == "running" else python_310()
    if found is None:
        pytest.skip("no Python 3.10")
    return str(found)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder whose packages leave a file `executed` in it if one of them is imported."""
    mark = tmp_path / "trap/executed"
    for name in HIDDEN:
        package = tmp_path / "trap" / name
        package.mkdir(parents=True)
        for file in ("__init__.py", "__main__.py", "cli.py"):
            (package / file).write_text(TRAP.format(mark=str(mark)), "utf-8")
    return mark.parent


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(trap: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> Run:
    """Run a command in the trap, as a host with that Python would."""
    monkeypatch.setenv("DREAMBOOTH_PYTHON", python)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(trap)

    def start(
        command: list[str], env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8")
        assert not (trap / "executed").exists(), done
        return done

    return start


def test_the_trap_works(trap: Path) -> None:
    subprocess.run([sys.executable, "-m", "trainer"], cwd=trap, env={"PATH": os.defpath})
    assert (trap / "executed").exists()


def test_the_worker_is_ours(run: Run) -> None:
    done = run(environment.worker_command("tests.helpers.where"), environment.worker_env())
    assert done.stdout == f"{environment.PACK / 'trainer/__init__.py'} 1 '\\xe9'\n", done.stderr


def test_the_terminals_commands_are_ours(run: Run, python: str) -> None:
    done = run([python, str(environment.PACK / "dreambooth.py"), "train", "--nonsense"])
    assert done.returncode == 2, done
    assert "--nonsense" in done.stderr


def test_doctor_asks_the_workers_python_alone(run: Run, python: str) -> None:
    done = run([python, str(environment.PACK / "dreambooth.py"), "doctor"])
    assert done.returncode == 0
    assert "Worker: " in done.stdout


def test_pip_and_venv_are_pythons_own(
    run: Run, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    installer = Installer(tmp_path / ".venv", tmp_path / "log", environment.worker_env(), print)
    installer.create()
    installer.must([*installer.pip(), "--version"], "find pip")
    assert "accelerate" in (installer.import_error() or "")
    run([python, "-V"])  # looks at the trap


def test_what_the_worker_is_started_with_never_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an order full of text that looks like options reaches the command line."""
    started: list[list[str]] = []
    start = worker_module.start

    def spy(command: list[str], *rest: object) -> subprocess.Popen[str]:
        started.append(command)
        return start(command, *rest)  # pyright: ignore - as it was called

    monkeypatch.setenv("DREAMBOOTH_PYTHON", sys.executable)
    monkeypatch.setattr(worker_module, "start", spy)
    order = Train(str(tmp_path / "--run"), {"output": "-c import os", "base": "--base"}, False)
    worker = worker_module.Worker(order)
    assert [event.name for event in worker.events()][-1] == "failed"
    flags = ["-I", "-X", "utf8"]
    assert started == [[sys.executable, *flags, str(environment.START), "trainer.worker"]]


@pytest.mark.skipif(sys.platform == "win32", reason="needs an executable script")
@pytest.mark.parametrize("path", ["", ".", "relative", ":", ".:relative:"])
def test_programs_are_not_searched_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for folder in (tmp_path, tmp_path / "relative", tmp_path / "drivers"):
        folder.mkdir(exist_ok=True)
        (folder / "nvidia-smi").write_text(f"#!{sys.executable}\nprint('9.0, 999')\n")
        (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path)
    assert programs.find_program("nvidia-smi") is None
    assert torch_source.nvidia_gpus() == []
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{tmp_path / 'drivers'}")
    assert programs.find_program("nvidia-smi") == str(tmp_path / "drivers/nvidia-smi")


def test_on_windows_programs_come_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path / "Windows"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("nvidia-smi.exe").touch()
    assert programs.find_program("nvidia-smi") is None
    file = tmp_path / "Windows" / "System32" / "nvidia-smi.exe"
    file.parent.mkdir(parents=True)
    file.touch()
    assert programs.find_program("nvidia-smi") == str(file)
