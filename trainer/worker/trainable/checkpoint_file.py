"""The result of a full fine-tune: one file with all of the model, checked after it was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...files.atomic import write_atomic, write_unique
from ..base.models import BaseModel
from ..base.renaming import Weights
from ..base.single_file import single_file_weights
from ..base.weights import check_written
from .contract import Trained
from .origin import DTYPES, Origin, result_metadata

__all__ = ["save_checkpoint_file"]

COMPANIONS = (".yaml", ".json", ".png")  # what hosts read and show with a checkpoint


def save_checkpoint_file(wanted: Path, trained: Trained, origin: Origin) -> Path:
    """Write the model as a single file that every host opens, and check it; returns its path.

    Args:
        wanted: the path, if no file of its name is there yet; else a number is added.

    Raises:
        RuntimeError: what was read back is not what was trained.
    """
    base, dtype = origin.base, DTYPES[origin.config.trained.save_precision]
    weights = single_file_weights(base, by_part(trained.file_weights(torch.float32)), dtype)
    wanted.parent.mkdir(parents=True, exist_ok=True)

    def content(path: Path) -> Callable[[Path], None]:
        metadata = result_metadata(path.stem, base.variant.architecture, origin)
        return lambda partial: save_file(weights, partial, metadata)

    path = write_unique(wanted.parent, wanted.stem, ".safetensors", content, COMPANIONS)
    check_written(path, weights)
    copy_description(base, path)
    return path


def copy_description(base: BaseModel, path: Path) -> None:
    """Put the base's .yaml next to the result: A1111 and Forge need it for the one as the other."""
    description = base.path.with_suffix(".yaml")
    if not base.is_folder and description.is_file():
        write_atomic(path.with_suffix(".yaml"), description.read_bytes())


def by_part(weights: Mapping[str, Tensor]) -> dict[str, Weights]:
    """Return weights that are named <part>.<name> by part and name."""
    parts: dict[str, Weights] = {}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    return parts
