"""Names and shapes of the tensors of the layers that all parts of a checkpoint are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["Shapes", "Tensors", "conv", "linear", "norm", "pointwise", "side"]

Shapes = Mapping[str, tuple[int, ...]]
Tensors = Iterator[tuple[str, tuple[int, ...]]]


def side(shapes: Shapes, name: str, axis: int) -> int:
    """Return one side of a tensor; 0 if it is absent or has too few dimensions."""
    shape = shapes.get(name, ())
    return shape[axis] if axis < len(shape) else 0


def norm(prefix: str, width: int) -> Tensors:
    """Yield the tensors of a norm."""
    yield f"{prefix}.weight", (width,)
    yield f"{prefix}.bias", (width,)


def linear(prefix: str, width: int, out: int) -> Tensors:
    """Yield the tensors of a linear layer."""
    yield f"{prefix}.weight", (out, width)
    yield f"{prefix}.bias", (out,)


def conv(prefix: str, width: int, out: int, size: int = 3) -> Tensors:
    """Yield the tensors of a convolution."""
    yield f"{prefix}.weight", (out, width, size, size)
    yield f"{prefix}.bias", (out,)


def pointwise(prefix: str, width: int, out: int) -> Tensors:
    """Yield the tensors of a 1x1 convolution."""
    return conv(prefix, width, out, size=1)
