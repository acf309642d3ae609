"""What the rest of the worker knows of anything that is trained, and of anything that is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Rate", "Stateful", "Trainable", "Trained", "require_like"]

Rate = Literal["learning_rate", "text_encoder_learning_rate", "text_encoder_2_learning_rate"]


class Stateful(Protocol):
    """A part of a training that a checkpoint keeps: all that a checkpoint knows of it."""

    def tensors(self) -> dict[str, Tensor]:
        """Return its state by name, on the CPU."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` returned.

        Raises:
            ValueError: it is not the state of this part; the text names the tensor.
        """
        ...

    def num_bytes(self) -> int:
        """Return how much `tensors` can come to: what plans of memory and disk ask."""
        ...


class Trainable(Protocol):
    """One thing that is learned, such as the LoRA layers of one model."""

    @property
    def rate(self) -> Rate:
        """Return the name of the setting that is its learning rate."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the trained weights by their names in the file."""
        ...

    def initialize(self, rng: torch.Generator) -> None:
        """Set the weights with which training starts; the model computes what the base does."""
        ...

    def as_base(self) -> AbstractContextManager[None]:
        """Within it the model is the frozen base."""
        ...

    def file_weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return all that the result's file holds of it, on the CPU."""
        ...


@dataclass(frozen=True)
class Trained:
    """Everything that one training trains, as one; `Stateful`."""

    parts: Sequence[Trainable]

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield every trained weight by its name."""
        for part in self.parts:
            yield from part.named_parameters()

    def parameters(self, rate: Rate | None = None) -> list[nn.Parameter]:
        """Return the trained weights: all, or those of one learning rate."""
        wanted = [part for part in self.parts if rate in (None, part.rate)]
        return [parameter for part in wanted for _, parameter in part.named_parameters()]

    def freeze(self, rates: Collection[Rate]) -> None:
        """Record no more gradients for the weights of these learning rates."""
        for rate in rates:
            for parameter in self.parameters(rate):
                parameter.requires_grad_(False)

    def initialize(self, seed: int) -> None:
        """Set the weights with which training starts, in float32."""
        rng = torch.Generator().manual_seed(seed)
        for part in self.parts:
            part.initialize(rng)

    def to(self, device: torch.device) -> None:
        """Move the trained weights."""
        for parameter in self.parameters():
            parameter.data = parameter.data.to(device)

    @contextmanager
    def as_base(self) -> Iterator[None]:
        """The frozen base, as it was before training; nothing is recorded for gradients."""
        with torch.no_grad(), ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.as_base())
            yield

    def file_weights(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return all that the result's file holds."""
        return {k: v for part in self.parts for k, v in part.file_weights(dtype).items()}

    def are_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return all(bool(torch.isfinite(parameter).all()) for parameter in self.parameters())

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        named = self.named_parameters()
        return {name: parameter.detach().to("cpu").contiguous() for name, parameter in named}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up weights; ValueError if they are not those of this training."""
        require_like(tensors, dict(self.named_parameters()))
        for name, parameter in self.named_parameters():
            parameter.copy_(tensors[name])

    def num_bytes(self) -> int:
        """Return the size of all weights."""
        return sum(parameter.nbytes for parameter in self.parameters())


def require_like(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError, naming one, unless all tensors have the expected names, shapes and types.

    Their numbers must be finite.
    """
    for name in sorted({*found, *expected}):
        if name not in found or name not in expected or not is_like(found[name], expected[name]):
            raise ValueError(f"{name[:200]} is not of this run")


def is_like(value: Tensor, wanted: Tensor) -> bool:
    same = value.shape == wanted.shape and value.dtype == wanted.dtype
    return same and bool(value.isfinite().all())
