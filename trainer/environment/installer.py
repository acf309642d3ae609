"""The steps that build a private Python environment: create it, fill it with pip, check it."""

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
from .programs import python_in

__all__ = ["Installer", "locked"]

Report = Callable[[str], None]

WINDOWS = sys.platform == "win32"
ISOLATED = ("-I", "-m")  # a module of Python's own, never one in the working folder
PIP_OPTIONS = ("--disable-pip-version-check", "--no-input", "--retries", "2")
INSTALL_OPTIONS = ("--only-binary", ":all:", "--progress-bar", "off")  # builds nothing
POLL_SEC = 0.5
SHORTER_PATH = "Move the host's folder closer to the drive's root, or enable long paths in Windows"
IMPORTS = "accelerate, diffusers, matplotlib, peft, PIL, psutil, safetensors, torch, transformers"


@dataclass(frozen=True)
class Installer:
    """Fills one environment.

    Args:
        folder: where the environment is, or will be.
        log: file that receives all of pip's output.
        env: environment variables of every process.
        report: called with one line for each thing that is being done.
    """

    folder: Path
    log: Path
    env: Mapping[str, str]
    report: Report

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return python_in(self.folder)

    @property
    def site_packages(self) -> Path:
        """The folder of the environment's packages."""
        if WINDOWS:
            return self.folder / "Lib/site-packages"
        return next(self.folder.glob("lib/python*/site-packages"))

    def create(self) -> None:
        """Create the environment without packages, in place of an existing one.

        Raises:
            ConfigError: the running Python cannot create one.
        """
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.log.write_text("", "utf-8")
        if has_module("venv"):
            pip = () if has_module("ensurepip") else ("--without-pip",)
            self.must([sys.executable, *ISOLATED, "venv", *pip, str(self.folder)], "create a venv")
        elif embedded(Path(sys.base_prefix)):
            copy_embedded(Path(sys.base_prefix), self.folder)
        else:
            raise ConfigError(f"{sys.executable} has no module venv.", "Install python3-venv.")

    def install_locked(self, lock: Path) -> None:
        """Install exactly what a lock lists for this system and Python, if its hashes are right.

        Raises:
            ConfigError: says what pip could not fetch or install.
        """
        self.install("--no-deps", "--require-hashes", "-r", str(lock))

    def install_torch(self, version: str, index: str) -> None:
        """Install a torch that is not in the lock, after everything that it shares with the lock.

        Args:
            index: the only package index that is asked; empty: as pip is configured.

        Raises:
            ConfigError: says what pip could not fetch or install.
        """
        self.install(f"torch=={version}", *(("--index-url", index) if index else ()))

    def install(self, *arguments: str) -> None:
        """Install packages with the environment's own pip, or the running Python's."""
        command = [*self.pip(), "install", *INSTALL_OPTIONS, *arguments]
        self.must(command, "install the trainer's packages")

    def pip(self) -> list[str]:
        """Return the command of the environment's own pip, or of the running Python's for it."""
        if has_pip(self.site_packages):
            return [str(self.python), *ISOLATED, "pip", *PIP_OPTIONS]
        if not has_module("pip"):
            raise ConfigError(f"{sys.executable} has no pip.", "Install python3-pip.")
        return [sys.executable, *ISOLATED, "pip", "--python", str(self.python), *PIP_OPTIONS]

    def problem(self) -> str | None:
        """Return why the installed packages cannot be used; None if they can."""
        _, lines = self.run([*self.pip(), "check"])
        unmet = [line.strip() for line in lines if line.startswith("torch ")]
        return unmet[0].rstrip(".") if unmet else self.import_error()

    def import_error(self) -> str | None:
        """Return why the installed packages cannot be imported; None if they can."""
        code, lines = self.run([str(self.python), "-I", "-c", f"import {IMPORTS}"])
        return last_error(lines) if code else None

    def must(self, command: list[str], purpose: str) -> None:
        """Run a command and raise ConfigError, with a remedy, if it fails."""
        code, lines = self.run(command)
        if code:
            raise ConfigError(
                f"install.py could not {purpose}: {last_error(lines)}.",
                f"{remedy(lines)}, then run install.py again; the log is {self.log}.",
            )

    def run(self, command: list[str]) -> tuple[int, list[str]]:
        """Run a command, log its output, and return its exit code and its lines."""
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
        """Yield the lines of a stream as they come; log them and report large downloads."""
        with self.log.open("a", encoding="utf-8") as log:
            for line in stream:
                log.write(line)
                if line.lstrip().startswith("Downloading ") and "kB)" not in line:
                    self.report(line.strip())
                yield line


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def has_pip(site_packages: Path) -> bool:
    return (site_packages / "pip/__main__.py").exists()


def embedded(prefix: Path) -> bool:
    """Whether a Python is Windows' embeddable build: a flat folder with a file that lists paths."""
    return any(prefix.glob("python*._pth"))


def copy_embedded(prefix: Path, folder: Path) -> None:
    """Copy the embeddable build, which has no venv, and give it paths of its own.

    Its packages are in folders, so copying only files copies only the interpreter. It ignores
    environment variables, so the pack's root has to be one of its paths.
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
    """Return what may help against an error of pip."""
    if any("Windows Long Path" in line for line in lines):  # pip's own guess
        return SHORTER_PATH
    if any("No matching distribution" in line for line in lines):
        python = f"{struct.calcsize('P') * 8}-bit Python {sys.version.split()[0]}"
        return (
            f"Check the network connection; if it works, there is no build for {python} on "
            f"{platform.system()} {platform.machine()}: use a 64-bit Python 3.10 to 3.13"
        )
    return "Check the network connection and the disk space"


def last_error(lines: list[str]) -> str:
    """Return pip's first error, else the last line."""
    printed = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in printed if line.startswith("ERROR: ")]
    return (errors[:1] or printed or ["no output"])[-1].rstrip(".")


@contextmanager
def locked(path: Path, report: Report) -> Iterator[None]:
    """Hold a file's lock, which ends with the process; wait until no other process holds it."""
    lock = Lock(path)
    if not lock.take():
        report("Another process is installing the environment; waiting for it.")
        while not lock.take():
            time.sleep(POLL_SEC)
    try:
        yield
    finally:
        lock.release()
