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
from ...model_files.contents import is_needed
from ...model_files.header import OUTLINE
from ...model_files.identify import read_header
from ...model_files.quantised import FLOATS, is_companion, scale_name
from ..device.failures import is_out_of_memory
from .renaming import Weights

__all__ = ["check_written", "complete", "fill", "read_tensors", "read_weights"]

OTHER_FILE = "It is damaged or not a supported model. Use another one."


def read_weights(path: Path, prefix: str, dtype: torch.dtype) -> Weights:
    """Return the floating-point weights under a prefix as `dtype`; their keys lose the prefix.

    Weights in eight bits are multiplied by their scales.
    """
    return {key: value.to(dtype) for key, value in read_tensors(path, prefix)}


def read_tensors(path: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the floating-point weights under a prefix one by one, in the file's precision."""
    if torch.empty(0).is_meta:
        tensors = read_header(path).tensors.items()
        infos = {key: info for key, info in tensors if key.startswith(prefix)}
        for key, info in infos.items():
            if info.dtype in FLOATS and not is_companion(key, infos):
                yield key.removeprefix(prefix), torch.empty(info.shape)
        return
    if path.suffix == OUTLINE:
        raise ConfigError(f"{path} has no weights.", "Give a complete checkpoint.")
    with safe_open(str(path), framework="pt") as file:
        names = dict.fromkeys(key for key in file.keys() if key.startswith(prefix))  # noqa: SIM118
        for key in names:
            value = file.get_tensor(key)
            if value.is_floating_point() and not is_companion(key, names):
                scale = scale_name(key, names)
                factor = None if scale is None else file.get_tensor(scale)
                yield key.removeprefix(prefix), scaled(value, factor)


def scaled(weight: Tensor, scale: Tensor | None) -> Tensor:
    """Return a weight times its scale, which is one number, or one for each row."""
    if scale is None:
        return weight
    return weight.float() * scale.float().reshape(-1, *[1] * (weight.ndim - 1))


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
            f"{path}: the {part} is incomplete or damaged ({error!r:.200}).",
            OTHER_FILE,
        ) from error


def fill(model: Any, weights: Mapping[str, Tensor], part: str, path: Path) -> Any:
    """Load weights into a model that was built on the meta device, and freeze it.

    Raises:
        ConfigError: a weight is missing, has a different shape or no place in the model.
    """
    expected = {name: tuple(value.shape) for name, value in model.named_parameters()}
    for name, shape in expected.items():
        found = tuple(weights[name].shape) if name in weights else None
        if found != shape:
            problem = "is missing" if found is None else f"has shape {found}, not {shape}"
            raise ConfigError(f"{path}: the {part}'s {name} {problem}.", OTHER_FILE)
    if extra := [name for name in weights if name not in expected and is_needed(name)]:
        raise ConfigError(
            f"{path}: the {part} has no place for {len(extra)} weights, such as {extra[0]}.",
            OTHER_FILE,
        )
    weights = {name: weights[name] for name in expected}
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


def check_written(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError when a file does not hold exactly the expected finite weights."""
    with safe_open(str(path), framework="pt") as file:
        if differ := set(file.keys()) ^ set(expected):
            raise RuntimeError(f"{path}: keys differ: {sorted(differ)[:5]}")
        for name, value in expected.items():
            found = file.get_tensor(name)
            if not torch.isfinite(found).all() or not torch.equal(found, value):
                raise RuntimeError(f"{path}: {name} is damaged")
