"""Runs a module of the environment as a program: `python -I .../start.py trainer.worker`.

`python -m` would search the working folder first, which nothing turns off before Python 3.11, and
a folder `trainer` there would be run in place of ours. An isolated Python searches neither the
working folder nor PYTHONPATH, so the pack's place has to come from this file's own path.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the module that the first argument names, with the rest as its arguments."""
    del sys.argv[0]
    sys.path.insert(0, str(Path(__file__).absolute().parents[2]))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
