"""Refuses weights that are NaN or infinite, and says whether the file or the precision is why."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from ...errors import ConfigError
from .weights import read_tensors

__all__ = ["require_finite"]


Source = tuple[Path, str]


@torch.no_grad()
def require_finite(model: nn.Module, part: str, sources: Iterable[Source]) -> None:
    """Raise ConfigError if a loaded part has weights that are NaN or infinite.

    One sum a weight shows it, the quickest operation there is, read back from the device at
    once.

    Args:
        sources: the files that the part was loaded from, with the prefix of its weights in
            them; they are read again only to name the cause.
    """
    parameters = list(model.parameters())
    finite = torch.stack([parameter.sum() for parameter in parameters]).isfinite().tolist()
    suspects = [p for p, is_finite in zip(parameters, finite, strict=True) if not is_finite]
    if all(bool(suspect.isfinite().all()) for suspect in suspects):
        return  # at most the sum of large weights overflowed
    raise cause(part, list(sources), parameters[0].dtype)


def cause(part: str, sources: list[Source], dtype: torch.dtype) -> ConfigError:
    """Return the error for a part with weights that are NaN or infinite."""
    for file, prefix in sources:
        for name, value in read_tensors(file, prefix):
            if not value.float().isfinite().all():
                return ConfigError(
                    f"{file}: the {part} has NaN or infinite weights ({prefix}{name:.200}).",
                    "The file is damaged, or came from a training or merge that failed. "
                    "Use another one.",
                )
    return ConfigError(
        f"{sources[0][0]}: the {part} has weights that are too large for "
        f"{str(dtype).removeprefix('torch.')}.",
        "Set mixed_precision to bf16 or no.",
    )
