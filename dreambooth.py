"""Runs the trainer's commands in its private environment, which is installed when needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACK = Path(__file__).absolute().parent
sys.path.insert(0, str(PACK))  # embedded Pythons do not search the script's folder

from trainer.config.settings import nearest  # noqa: E402
from trainer.environment import environment  # noqa: E402
from trainer.errors import ConfigError  # noqa: E402

COMMANDS = {
    "demo": "watch a training on the small bundled model",
    "train": "train a LoRA",
    "plan": "estimate the memory and work of a training",
    "class-images": "generate class images",
    "sample": "generate images, with or without a LoRA",
    "identifiers": "propose rare words for a subject",
    "extract-lora": "extract a LoRA from a full fine-tune",
    "inspect": "identify a checkpoint or LoRA file",
    "doctor": "show what this machine has and what will be used",
    "test": "run the tests; further arguments go to pytest",
}
if not (PACK / "tests").is_dir():  # in the archive of the Comfy registry
    del COMMANDS["test"]


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code: 2 for an unknown command."""
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore - a real stream here
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        print(f"There is no command {command!r}. {nearest(command, COMMANDS)}", file=sys.stderr)
        return 2
    if command != "test":
        from trainer.terminal.cli import check

        if code := check(arguments):  # or it shows the help; both without an environment
            return code
    if command == "doctor":
        print(environment.doctor())
        return 0
    try:
        environment.build(report)
        return run_tests(rest) if command == "test" else run_in_environment("trainer", *arguments)
    except ConfigError as error:
        report(str(error))
    except KeyboardInterrupt:
        report("Interrupted. Run the command again to restart.")
    return 1


def usage() -> str:
    """Return the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    title = "Usage: python dreambooth.py COMMAND ...; COMMAND --help shows its options."
    return "\n".join([title, "", *lines])


def report(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def run_tests(arguments: list[str]) -> int:
    """Install what the tests need, run pytest and return its exit code."""
    environment.install_dev(report)
    os.chdir(PACK)
    return run_in_environment("pytest", *arguments)


def run_in_environment(module: str, *arguments: str) -> int:
    """Replace this process by the worker's Python; on Windows, wait for it and leave it Ctrl-C."""
    command = environment.worker_command(module, *arguments)
    if os.name == "posix":
        sys.stdout.flush()
        os.execve(command[0], command, environment.worker_env())
    process = subprocess.Popen(command, env=environment.worker_env())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
