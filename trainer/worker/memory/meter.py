"""Measure a computation's memory and operations without running it.

torch's fake tensors have shapes but no contents. They pass through the real code of a training
step, including autocast, LoRA and gradient checkpointing; a meter counts the bytes alive at any
time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

__all__ = ["Cost", "Meter", "measure", "norms_in_float32", "without_contents"]

FLASH_CPU = "_scaled_dot_product_flash_attention_for_cpu"


@dataclass(frozen=True)
class Cost:
    """Peak bytes alive in addition to the weights, and the floating-point operations."""

    peak_bytes: int
    flop: int


class Meter(TorchDispatchMode):
    """Counts the bytes alive and the floating-point operations while it is active.

    Args:
        weights: not counted.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.weights = {weight.untyped_storage()._cdata for weight in weights}
        self.living: dict[int, weakref.ref[Any]] = {}
        self.bytes = self.peak_bytes = self.flop = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self.flop += operations(func, args, kwargs or {}, output)
        for value in tree_leaves(output):
            if isinstance(value, Tensor):
                self.add(value.untyped_storage())
        return output

    def add(self, storage: Any) -> None:
        """Count a storage until it is freed."""
        key, size = storage._cdata, storage.nbytes()
        if key in self.living or key in self.weights:
            return
        self.living[key] = weakref.ref(storage, lambda _: self.remove(key, size))
        self.bytes += size
        self.peak_bytes = max(self.peak_bytes, self.bytes)

    def remove(self, key: int, size: int) -> None:
        """Stop counting a storage that was freed."""
        del self.living[key]
        self.bytes -= size


def operations(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Return the operations of one operator; torch has no count for the CPU's attention."""
    packet = func._overloadpacket
    if packet in flop_registry:
        return flop_registry[packet](*args, **kwargs, out_val=output)
    name = packet.__name__
    if name == FLASH_CPU:
        return sdpa_flop_count(*(value.shape for value in args[:3]))
    if name == f"{FLASH_CPU}_backward":  # five matrix products; forward has two
        return 5 * sdpa_flop_count(*(value.shape for value in args[1:4])) // 2
    return 0


def norms_in_float32(*models: nn.Module) -> None:
    """Make norms compute in float32, as autocast does on a GPU but not on a CPU."""
    for module in (module for model in models for module in model.modules()):
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm)):
            module.float()
            module.register_forward_pre_hook(lambda _, args: (args[0].float(), *args[1:]))


@contextmanager
def without_contents(*models: nn.Module) -> Iterator[None]:
    """Make tensors fake, and give models on the meta device fake weights on the CPU."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in (module for model in models for module in model.modules()):
            for name, value in module._parameters.items():
                if value is not None:
                    fake = torch.empty(value.shape, dtype=value.dtype)
                    module._parameters[name] = nn.Parameter(fake, value.requires_grad)
            for name, value in module._buffers.items():
                if value is not None:
                    module._buffers[name] = torch.empty(value.shape, dtype=value.dtype)
        yield


def measure(function: Callable[[], object], *models: nn.Module) -> Cost:
    """Return the cost of a function that uses models which are `without_contents`."""
    weights = [parameter for model in models for parameter in model.parameters()]
    meter = Meter(weights)
    with meter:
        function()
    return Cost(meter.peak_bytes, meter.flop)
