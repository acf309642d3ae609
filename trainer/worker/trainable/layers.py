"""Which layers of the models are trained, and at which rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn

from ...errors import ConfigError
from ...model_files.families import Family, TextEncoderKind
from .contract import Rate

__all__ = ["TEXT_RATES", "chosen", "is_chosen", "text_rates", "unused_layers"]

TEXT_RATES: tuple[Rate, ...] = ("text_encoder_learning_rate", "text_encoder_2_learning_rate")


def is_chosen(name: str, patterns: Sequence[str]) -> bool:
    """Whether a layer or weight fits any of the patterns, whole or up to a dot; none: all do."""
    parts = name.split(".")
    stems = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return not patterns or any(fnmatchcase(s, pattern) for s in stems for pattern in patterns)


def chosen(unet: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of a U-Net's weights that fit the patterns.

    Raises:
        ConfigError: a pattern fits none.
    """
    names = [name for name, _ in unet.named_parameters()]
    for pattern in patterns:
        if not any(is_chosen(name, [pattern]) for name in names):
            raise ConfigError(
                f"train_layers: no layer of the U-Net is called {pattern!r:.200}.",
                "Use diffusers' names, such as mid_block.* or up_blocks.1.attentions.0.*",
            )
    return [name for name in names if is_chosen(name, patterns)]


def text_rates(
    family: Family, text_encoders: Sequence[nn.Module]
) -> Iterator[tuple[Rate, TextEncoderKind, nn.Module]]:
    """Yield each trained text encoder with its learning rate's setting and its kind."""
    yield from zip(TEXT_RATES, family.text_encoders, text_encoders, strict=False)


def unused_layers(family: Family, encoder: nn.Module) -> list[str]:
    """Return the names of the last layers that no prompt passes (Clip skip, SDXL's CLIP-L)."""
    unused = family.skipped_layers
    if family.penultimate and not hasattr(encoder, "text_projection"):
        unused = 1
    count = sum(name.endswith(".mlp") for name, _ in encoder.named_modules())
    return [f"layers.{index}" for index in range(count - unused, count)]
