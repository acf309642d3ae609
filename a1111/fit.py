"""Whether a training would fit into memory, predicted before it is started."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..trainer.config.config import Config
from ..trainer.environment.environment import is_ready, worker_command, worker_env
from ..trainer.errors import ConfigError
from .fields import labelled

__all__ = ["fit_text", "sentence"]

GIB = 1024**3
PLAN_SEC = 300  # after which a plan is given up
CREATION_FLAGS = subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0


def fit_text(config: Config, gpu_gib: float | None) -> str:
    """Return in one sentence whether a training fits; "" where the trainer is not installed yet.

    Args:
        gpu_gib: the GPU's memory without what the host will hand over; None: without a GPU.

    Raises:
        ConfigError: the plan finds something wrong, such as a photo that is gone.
    """
    if not is_ready():
        return ""
    with tempfile.TemporaryDirectory(prefix="dreambooth") as folder:
        file = Path(folder, "config.json")
        file.write_text(config.to_json(), "utf-8", errors="surrogatepass")
        memory = [] if gpu_gib is None else ["--memory", f"{gpu_gib:.3f}"]
        command = worker_command("trainer", "plan", "--config", str(file), "--json", *memory)
        try:
            answer = subprocess.run(
                command, env=worker_env(), cwd=folder, stdin=subprocess.DEVNULL,
                capture_output=True, encoding="utf-8", errors="replace", timeout=PLAN_SEC,
                creationflags=CREATION_FLAGS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ConfigError("Memory cannot be predicted: it takes too long now.", "") from None
    if answer.returncode:
        last = answer.stderr.strip().rpartition("\n")[2].removeprefix("Error: ")
        raise ConfigError(f"Memory cannot be predicted. {last}", "")
    return sentence(json.loads(answer.stdout))


def sentence(plan: Mapping[str, Any]) -> str:
    """Return a plan, as the terminal's `plan --json` prints it, in one sentence or two."""
    memory = "this computer's memory" if plan["device"] == "cpu" else "your GPU"
    needed, usable = (plan[name] / GIB for name in ("peak_bytes", "usable_bytes"))
    numbers = f"about {needed:.1f} of {usable:.1f} GiB"
    if plan["fits"]:
        return f"Fits {memory}: {numbers}."
    changes = [f"{labelled(one['setting'])} ({one['cost']})" for one in plan["changes"]]
    enough = changes and plan["changes"][-1]["total_bytes"] <= plan["usable_bytes"]
    advice = f" It would with {'; '.join(changes)}." if enough else " No setting makes it fit."
    return f"Does not fit {memory}: {numbers}.{advice}"
