"""The steps that make a private Python environment: create it, fill it by pip, check it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..files.lock import Lock

__all__ = ["Installer", "locked", "python_in"]

Report = Callable[[str], None]

WINDOWS = sys.platform == "win32"
PIP_OPTIONS = ("--disable-pip-version-check", "--no-input", "--retries", "2")
INSTALL_OPTIONS = ("--prefer-binary", "--progress-bar", "off")
POLL_SEC = 0.5
SHORTER_PATH = "Move the host's folder nearer to the drive's root, or turn on Windows' long paths"
IMPORTS = "accelerate, diffusers, matplotlib, peft, PIL, psutil, safetensors, torch, transformers"


@dataclass(frozen=True)
class Installer:
    """Fills one environment.

    Args:
        folder: where the environment is, or will be.
        log: file that gets all output of pip.
        env: environment variables for every process.
        report: told what is being done.
    """

    folder: Path
    log: Path
    env: Mapping[str, str]
    report: Report

    @property
    def python(self) -> Path:
        return python_in(self.folder)

    @property
    def site_packages(self) -> Path:
        if WINDOWS:
            return self.folder / "Lib/site-packages"
        return next(self.folder.glob("lib/python*/site-packages"))

    def create(self) -> None:
        """Make the environment anew, without packages.

        Raises:
            ConfigError: the running Python cannot make one.
        """
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.log.write_text("", "utf-8")
        if has_module("venv"):
            pip = () if has_module("ensurepip") else ("--without-pip",)
            self.must([sys.executable, "-m", "venv", *pip, str(self.folder)], "create a venv")
        elif embedded(Path(sys.base_prefix)):
            copy_embedded(Path(sys.base_prefix), self.folder)
        else:
            raise ConfigError(f"{sys.executable} has no module venv.", "Install python3-venv.")

    def install(self, *arguments: str) -> None:
        """Install packages by pip: the environment's own, or the running Python's.

        Raises:
            ConfigError: says what pip could not fetch or install.
        """
        command = [str(self.python), "-m", "pip"]
        if not has_pip(self.site_packages):
            if not has_module("pip"):
                raise ConfigError(f"{sys.executable} has no pip.", "Install python3-pip.")
            command = [sys.executable, "-m", "pip", "--python", str(self.python)]
        command += [*PIP_OPTIONS, "install", *INSTALL_OPTIONS, *arguments]
        self.must(command, "install the trainer's packages")

    def import_error(self) -> str | None:
        """What keeps the installed packages from being imported; None: nothing does."""
        code, lines = self.run([str(self.python), "-s", "-c", f"import {IMPORTS}"])
        return last_error(lines) if code else None

    def must(self, command: list[str], purpose: str) -> None:
        code, lines = self.run(command)
        if code:
            raise ConfigError(
                f"install.py could not {purpose}: {last_error(lines)}.",
                f"{remedy(lines)}, then run install.py again; the log is {self.log}.",
            )

    def run(self, command: list[str]) -> tuple[int, list[str]]:
        """Run a command and log all that it prints; gives its exit code and its lines."""
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(self.env),
            encoding="utf-8",
            errors="replace",
        ) as process:
            assert process.stdout is not None
            lines = list(self.heard(process.stdout))
        return process.returncode, lines

    def heard(self, stream: Iterable[str]) -> Iterator[str]:
        with self.log.open("a", encoding="utf-8") as log:
            for line in stream:
                log.write(line)
                if line.lstrip().startswith("Downloading ") and "kB)" not in line:
                    self.report(line.strip())
                yield line


def python_in(folder: Path) -> Path:
    """The interpreter of an environment: a venv, or a copied embedded Python on Windows."""
    if not WINDOWS:
        return folder / "bin/python"
    copied = folder / "python.exe"
    return copied if copied.exists() else folder / "Scripts/python.exe"


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def has_pip(site_packages: Path) -> bool:
    return (site_packages / "pip/__main__.py").exists()


def embedded(prefix: Path) -> bool:
    """Whether a Python is Windows' embeddable build: a flat folder with a file of its paths."""
    return any(prefix.glob("python*._pth"))


def copy_embedded(prefix: Path, folder: Path) -> None:
    """Make an environment of the embeddable build, which has no venv: its files, other paths.

    Its packages lie in folders, so the copied files are the interpreter alone. It reads no
    environment variables: the pack's root must stand among its paths.
    """
    folder.mkdir()
    for file in prefix.iterdir():
        if file.is_file() and file.suffix != "._pth":
            shutil.copy2(file, folder)
    for paths in prefix.glob("python*._pth"):
        lines = [f"{paths.stem}.zip", ".", "Lib/site-packages", "..", "import site", ""]
        (folder / paths.name).write_text("\n".join(lines), "utf-8")
    (folder / "Lib/site-packages").mkdir(parents=True)


def remedy(lines: list[str]) -> str:
    """What may help against what pip says."""
    if any("Windows Long Path" in line for line in lines):  # pip's own guess
        return SHORTER_PATH
    if any("No matching distribution" in line for line in lines):
        python = f"Python {sys.version.split()[0]} of {struct.calcsize('P') * 8} bits"
        return (
            f"Check the network connection; if it works, there is none for {python} on "
            f"{platform.system()} {platform.machine()}: use a 64-bit Python 3.10 to 3.13"
        )
    return "Check the network connection and the disk space"


def last_error(lines: list[str]) -> str:
    """What matters of an output: pip's first error, else the last line."""
    told = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in told if line.startswith("ERROR: ")]
    return (errors[:1] or told or ["no output"])[-1].rstrip(".")


@contextmanager
def locked(path: Path, report: Report) -> Iterator[None]:
    """Hold a file's lock, which ends with the process; wait while another process holds it."""
    lock = Lock(path)
    if not lock.take():
        report("Another process is installing the environment; waiting for it.")
        while not lock.take():
            time.sleep(POLL_SEC)
    try:
        yield
    finally:
        lock.release()
