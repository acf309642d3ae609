"""What is kept of a training."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from .names import check_file_stem
from .settings import setting

__all__ = ["ResultConfig", "check_output"]


@dataclass(frozen=True)
class ResultConfig:
    """What is kept."""

    output: str = setting(help="File to write; its name ends in .safetensors.")
    save_every: int | None = setting(
        200,
        minimum=1,
        maximum=1_000_000,
        help="Steps between checkpoints. None: only at the end or when stopped.",
        advanced=True,
    )
    checkpoints_total_limit: int = setting(
        2, minimum=1, maximum=1000, help="Checkpoints kept in the run folder.", advanced=True
    )
    description: str = setting("", help="Free text for the file's card.", advanced=True)


def check_output(output: str) -> None:
    """Raise ConfigError unless the path ends in a .safetensors name that every system can store."""
    stem, dot, suffix = output.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if not dot or suffix != "safetensors":
        raise ConfigError(
            f"output {output!r:.200} is not a .safetensors file name.", "End it in .safetensors."
        )
    check_file_stem(stem, "output")
