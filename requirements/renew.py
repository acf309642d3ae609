"""Renews the locks: exact versions and hashes of all packages, for every system and Python.

    python requirements/renew.py            # keeps the locked versions that still fit
    python requirements/renew.py --upgrade  # takes the newest versions that fit

Each `NAME.txt` next to this file has supported ranges, `lock/NAME.txt` is its lock. torch and what
only it needs have a lock of their own, because the installer may take another build. Needs PyPI.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

FOLDER = Path(__file__).absolute().parent
LOCKS = FOLDER / "lock"
UV = "uv==0.13.9"
OPTIONS = [
    "--universal", "--python-version", "3.10", "--generate-hashes", "--only-binary", ":all:",
    "--no-annotate", "--no-header", "--no-config", "--quiet",
]  # fmt: skip
TORCH = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
HEADER = "# Made by requirements/renew.py.\n"


def main(arguments: list[str]) -> None:
    """Renew the lock of every list of requirements."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        uv, base = install_uv(work), work / "trainer.txt"
        whole = compiled(uv, FOLDER / "trainer.txt", base, ("trainer", "torch"), arguments)
        write("torch", [pin for pin in whole if TORCH.match(pin)])
        write("trainer", [pin for pin in whole if not TORCH.match(pin)])
        for file in sorted(set(FOLDER.glob("*.txt")) - {FOLDER / "trainer.txt"}):
            options = [*arguments, "--constraint", str(base)]
            pins = compiled(uv, file, work / file.name, (file.stem,), options)
            write(file.stem, [pin for pin in pins if pin not in whole])


def install_uv(work: Path) -> list[str]:
    """Install uv in an environment that ends with this program; return its command."""
    venv.create(work / "venv", with_pip=True)
    python = next((work / "venv").glob("[bS]*/python*"))
    subprocess.run([python, "-I", "-m", "pip", "install", "--quiet", UV], check=True)
    return [str(python), "-I", "-m", "uv"]


def compiled(
    uv: list[str], ranges: Path, output: Path, locks: tuple[str, ...], options: list[str]
) -> list[str]:
    """Return one text for each version: name, version, where it is installed, and its hashes.

    Args:
        locks: names of the existing locks, whose versions are kept while they fit.
    """
    known = [LOCKS / f"{name}.txt" for name in locks]
    output.write_text("".join(path.read_text("utf-8") for path in known if path.exists()), "utf-8")
    command = [*uv, "pip", "compile", *OPTIONS, *options, "--output-file", str(output), str(ranges)]
    subprocess.run(command, check=True)
    return re.split(r"^(?=\w)", output.read_text("utf-8"), flags=re.MULTILINE)[1:]


def write(name: str, pins: list[str]) -> None:
    """Write a lock."""
    path = LOCKS / f"{name}.txt"
    path.write_text(HEADER + "".join(pins), "utf-8", newline="\n")
    print(f"{path}: {len(pins)} versions")


if __name__ == "__main__":
    main(sys.argv[1:])
