"""A frozen U-Net whose weights are stored in fewer bits, and expanded layer by layer when used.

bitsandbytes' and diffusers' own layers are not used: see docs/decisions.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input

from ...config.model import BasePrecision
from ...errors import ConfigError
from ..device.failures import is_out_of_memory
from .weight_formats import FORMATS, Format

__all__ = ["compute_dtype", "quantise", "require_base_precision", "shape_of"]

# As in diffusers' layerwise casting; norms and embeddings are no linear or convolutional layers.
KEPT = ("conv_in", "conv_out", "time_embedding", "add_embedding")


class Expanded(torch.autograd.Function):
    """A layer's output; its weight is expanded in forward, and once more in backward.

    Autograd would otherwise keep every expanded weight until backward.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: StoredLinear | StoredConv2d) -> Tensor:
        """Return the output for inputs in the format of the computation."""
        ctx.layer, ctx.shape = layer, inputs.shape
        return layer.output(inputs, expanded(layer, inputs.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient for the inputs; the layer itself is frozen."""
        (gradient,) = gradients
        weight = expanded(ctx.layer, gradient.dtype)
        return ctx.layer.input_gradient(gradient, weight, ctx.shape), None


class Stored(nn.Module):
    """A frozen layer with a stored weight."""

    storage: Format
    part_names: tuple[str, ...]
    compute_dtype: torch.dtype

    def forward(self, input: Tensor) -> Tensor:
        """Return the layer's output."""
        return run(self, input)


class StoredLinear(Stored, nn.Linear):
    """A frozen linear layer with a stored weight."""

    def output(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the output for an expanded weight."""
        return functional.linear(inputs, weight, self.bias)

    def input_gradient(self, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """Return the gradient for inputs of a shape."""
        return gradient @ weight


class StoredConv2d(Stored, nn.Conv2d):
    """A frozen convolution with a stored weight."""

    def output(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Return the output for an expanded weight."""
        return self._conv_forward(inputs, weight, self.bias)

    def input_gradient(self, gradient: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
        """Return the gradient for inputs of a shape."""
        how: tuple[Any, ...] = (self.stride, self.padding, self.dilation, self.groups)
        return conv2d_input(shape, weight, gradient, *how)


def run(layer: Any, inputs: Tensor) -> Tensor:
    """Return a layer's output, in the format that autocast asks for, if any."""
    device = inputs.device.type
    if torch.is_autocast_enabled(device):
        inputs = inputs.to(torch.get_autocast_dtype(device))
    return Expanded.apply(inputs, layer)  # pyright: ignore[reportReturnType]


def expanded(layer: StoredLinear | StoredConv2d, dtype: torch.dtype) -> Tensor:
    parts = {name: getattr(layer, name) for name in layer.part_names}
    return layer.storage.expand(parts, shape_of(layer), dtype)


def shape_of(layer: nn.Linear | nn.Conv2d) -> tuple[int, ...]:
    """Return the shape of a layer's weight, however it is stored."""
    if isinstance(layer, nn.Linear):
        return layer.out_features, layer.in_features
    return layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size


def compute_dtype(layer: nn.Module) -> torch.dtype:
    """Return the number format in which a layer computes."""
    if isinstance(layer, Stored):
        return layer.compute_dtype
    weight: Any = layer.weight
    return weight.dtype


@torch.no_grad()
def quantise(unet: nn.Module, precision: BasePrecision, device: torch.device) -> None:
    """Store a frozen U-Net's layers in another format, one after the other, on the device."""
    if precision == "auto":
        return
    formats = FORMATS[precision]
    for name, layer in list(unet.named_modules()):
        storage = formats.get(type(layer))
        if storage is None or name.split(".")[0] in KEPT:
            continue
        parent, _, own = name.rpartition(".")
        setattr(unet.get_submodule(parent), own, stored(layer, storage, device))


def stored(layer: Any, storage: Format, device: torch.device) -> nn.Module:
    """Return a layer that computes the same with a stored weight; the given one loses its own."""
    with torch.device("meta"):
        new = empty_like(layer)
    new.storage, new.compute_dtype = storage, layer.weight.dtype
    new.bias = layer.bias
    parts = storage.parts(layer.weight.data.to(device))
    layer.weight = None
    new.part_names = tuple(parts)
    del new.weight
    for name, part in parts.items():
        setattr(new, name, nn.Parameter(part, requires_grad=False))
    return new.eval()


def empty_like(layer: Any) -> StoredLinear | StoredConv2d:
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return StoredLinear(layer.in_features, layer.out_features, has_bias)
    return StoredConv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride,
        layer.padding, layer.dilation, layer.groups, has_bias, layer.padding_mode,
    )  # fmt: skip


def require_base_precision(
    precision: BasePrecision, device: torch.device, dtype: torch.dtype
) -> None:
    """Store and use small layers.

    Raises:
        ConfigError: that does not work on the device.
    """
    if precision == "auto":
        return
    model = nn.Sequential(nn.Linear(64, 64), nn.Conv2d(4, 4, 1)).to(dtype)
    try:
        quantise(model, precision, device)
        inputs = torch.ones(1, 4, 64, 64, device=device, dtype=dtype, requires_grad=True)
        model.to(device)(inputs).sum().backward()
    except (RuntimeError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"base_precision {precision} does not work on {device.type}: {reason:.200}.",
            "Set base_precision to auto, bf16 or fp16.",
        ) from error
