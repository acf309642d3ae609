"""Installs the trainer's private environment; the host's is not touched.

ComfyUI-Manager runs this once, A1111 and Forge at every start. By hand, run it with the host's
Python: `python install.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACK = Path(__file__).absolute().parent
sys.path.insert(0, str(PACK))  # embedded Pythons do not search the script's folder

from trainer.environment import environment  # noqa: E402
from trainer.errors import ConfigError  # noqa: E402


def main() -> int:
    """Install what is missing and return the exit code."""
    sys.stdout.reconfigure(errors="backslashreplace")  # pyright: ignore - a real stream here
    missing = environment.missing()
    if missing is None:
        return 0
    if started_by_webui():
        print(f"DreamBooth: {missing}")
        return 0
    try:
        environment.build(lambda line: print(f"DreamBooth: {line}", flush=True))
    except ConfigError as error:
        print(f"DreamBooth: {error}", file=sys.stderr)
        return 1
    return 0


def started_by_webui() -> bool:
    """Whether A1111 or Forge runs this at its start, which must not take minutes.

    They put their own root, which has launch.py and modules/launch_utils.py, first on PYTHONPATH.
    """
    root = Path(os.environ.get("PYTHONPATH", "").split(os.pathsep)[0] or PACK)
    return (root / "launch.py").is_file() and (root / "modules/launch_utils.py").is_file()


if __name__ == "__main__":
    sys.exit(main())
