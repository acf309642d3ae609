"""Read weights from a file into a model that was built from their names and shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ...errors import ConfigError
from ...model_files.identify import read_header
from ..device.failures import is_out_of_memory
from .renaming import Weights

__all__ = ["complete", "fill", "read_weights"]


def read_weights(path: Path, prefix: str, dtype: torch.dtype) -> Weights:
    """Return the floating-point weights under a prefix as `dtype`; their keys lose the prefix."""
    return {key: value.to(dtype) for key, value in read_tensors(path, prefix)}


def read_tensors(path: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if torch.empty(0).is_meta:
        for key, info in read_header(path).tensors.items():
            if key.startswith(prefix) and info.dtype.startswith(("F", "BF")):
                yield key.removeprefix(prefix), torch.empty(info.shape)
        return
    with safe_open(str(path), framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - safe_open is not a mapping
            if key.startswith(prefix):
                value = file.get_tensor(key)
                if value.is_floating_point():
                    yield key.removeprefix(prefix), value


@contextmanager
def complete(part: str, path: Path) -> Iterator[None]:
    """Blame the file if a part cannot be built from the names and shapes in it.

    Raises:
        ConfigError: in place of the original error; out of memory is passed on unchanged.
    """
    try:
        yield
    except (LookupError, ArithmeticError, ValueError, TypeError, AttributeError, OSError,
            RuntimeError, StopIteration, SafetensorError) as error:  # fmt: skip
        if is_out_of_memory(error):
            raise
        raise ConfigError(
            f"{path.name}: the {part} is incomplete or damaged ({error!r:.200}).",
            "The file is damaged or not a supported model. Use another one.",
        ) from error


def fill(model: Any, weights: Mapping[str, Tensor], part: str, path: Path) -> Any:
    """Load weights into a model that was built on the meta device, and freeze it.

    Raises:
        ConfigError: a weight is missing or has a different shape.
    """
    expected = {name: tuple(value.shape) for name, value in model.named_parameters()}
    for name, shape in expected.items():
        found = tuple(weights[name].shape) if name in weights else None
        if found != shape:
            raise ConfigError(
                f"{path.name}: the {part}'s {name} has shape {found}, not {shape}.",
                "The file is damaged or not a supported model. Use another one.",
            )
    model.load_state_dict(weights, strict=False, assign=True)
    fill_buffers(model)
    return model.requires_grad_(False).eval()


def fill_buffers(model: nn.Module) -> None:
    """Create the only buffer that these models have: CLIP's position ids."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                assert name == "position_ids", name
                module.register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
