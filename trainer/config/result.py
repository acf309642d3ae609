"""The settings of what a training saves."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from .names import check_file_stem
from .settings import setting

__all__ = ["ResultConfig", "check_output"]


@dataclass(frozen=True)
class ResultConfig:
    """The output file and the checkpoints of a training."""

    output: str = setting(
        help=(
            "The file to save, which must end in .safetensors. Put it into your host's folder of "
            "LoRAs to use it at once."
        )
    )
    save_every: int | None = setting(
        200,
        minimum=1,
        maximum=1_000_000,
        help=(
            "Steps between saved states, from which a training resumes after a crash. Lower: less "
            "is lost, more disk writes. none: only at the end or when stopped."
        ),
        advanced=True,
    )
    checkpoints_total_limit: int = setting(
        2,
        minimum=1,
        maximum=1000,
        help=(
            "How many saved states to keep; older ones are deleted. Each needs up to a few times "
            "the LoRA's size."
        ),
        advanced=True,
    )
    description: str = setting(
        "", help=("Your own notes, shown on the file's card in the host."), advanced=True
    )


def check_output(output: str) -> None:
    """Raise ConfigError unless the path ends in a .safetensors name that every system can store."""
    stem, dot, suffix = output.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if not dot or suffix != "safetensors":
        raise ConfigError(
            f"output {output!r:.200} is not a .safetensors file name.", "End it in .safetensors."
        )
    check_file_stem(stem, "output")
