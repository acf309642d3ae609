"""The structure of a U-Net in the original layout, and every tensor that it consists of.

Reading the structure from a file and comparing the file with the structure's tensors finds
whatever is missing, left over or of another shape.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass

from .layers import Shapes, Tensors, conv, linear, norm, pointwise, side

__all__ = ["Level", "UNetStructure", "unet_structure", "unet_tensors"]

TRANSFORMER_NORMS = ("norm1", "norm2", "norm3")


@dataclass(frozen=True)
class Level:
    """One resolution of a U-Net.

    Args:
        channels: of all its blocks.
        depths: transformer blocks after each block on the way down.
        up_depths: the same on the way up, which has one block more.
    """

    channels: int
    depths: tuple[int, ...]
    up_depths: tuple[int, ...]

    @classmethod
    def even(cls, channels: int, num_blocks: int, depth: int) -> Level:
        """Return a level with the same transformer depth everywhere."""
        return cls(channels, (depth,) * num_blocks, (depth,) * (num_blocks + 1))


@dataclass(frozen=True)
class UNetStructure:
    """A U-Net's structure; channels, text width and label width are read, not assumed.

    Args:
        middle: transformer blocks in the middle; 0: one block without (SSD-1B), None: no middle.
        label_width: of the vector besides the time, such as SDXL's for sizes; None: there is none.
        linear: the transformers' projections are linear layers, not 1x1 convolutions.
    """

    levels: tuple[Level, ...]
    middle: int | None
    in_channels: int
    out_channels: int
    context: int
    label_width: int | None
    linear: bool

    @property
    def depths(self) -> tuple[tuple[int, ...] | int | None, ...]:
        """Return the transformers' depths: of each level down, the middle, each level up."""
        down = [level.depths for level in self.levels]
        return (*down, self.middle, *(level.up_depths for level in reversed(self.levels)))

    @property
    def fault(self) -> str | None:
        """Return why a U-Net of this structure is not supported; None: it is."""
        for number, level in enumerate(self.levels):
            for depths in (level.depths, level.up_depths):
                if 0 in depths and any(depths):
                    return f"level {number} has blocks with and without attention"
        deepest = self.levels[-1].depths
        if self.middle and any(deepest) and deepest[0] != self.middle:
            return f"its middle has {self.middle} transformer blocks, the level before {deepest[0]}"
        return None


def unet_structure(shapes: Shapes) -> UNetStructure:
    """Read a U-Net's structure from its shapes, without the checkpoint's prefix."""
    depths = transformer_depths(shapes)
    label = "label_emb.0.0.weight"
    contexts = (name for name in shapes if name.endswith("attn2.to_k.weight"))
    projections = (name for name in shapes if name.endswith(".1.proj_in.weight"))
    has_middle = "middle_block.0.in_layers.0.weight" in shapes
    return UNetStructure(
        levels=levels(shapes, depths),
        middle=depths.get("middle_block.1", 0) if has_middle else None,
        in_channels=side(shapes, "input_blocks.0.0.weight", 1),
        out_channels=side(shapes, "out.2.weight", 0),
        context=side(shapes, next(contexts, ""), 1),
        label_width=side(shapes, label, 1) if label in shapes else None,
        linear=len(shapes.get(next(projections, ""), ())) == 2,
    )


def transformer_depths(names: Iterable[str]) -> dict[str, int]:
    """Count the transformer blocks in each place; absurd numbers in names cost nothing."""
    place = r"((?:input|output)_blocks\.[0-9]+\.1|middle_block\.1)"
    pattern = re.compile(place + r"\.transformer_blocks\.([0-9]+)\.")
    found: dict[str, set[str]] = {}
    for match in filter(None, map(pattern.match, names)):
        found.setdefault(match[1], set()).add(match[2])
    return {place: len(numbers) for place, numbers in found.items()}


def levels(shapes: Shapes, depths: Mapping[str, int]) -> tuple[Level, ...]:
    """Return the resolutions: a level ends where its blocks are followed by a downsampler."""
    down: list[list[int]] = [[]]
    channels = [0]
    index = 1
    while True:
        if f"input_blocks.{index}.0.out_layers.3.weight" in shapes:
            channels[-1] = side(shapes, f"input_blocks.{index}.0.out_layers.3.weight", 0)
            down[-1].append(depths.get(f"input_blocks.{index}.1", 0))
        elif f"input_blocks.{index}.0.op.weight" in shapes:
            down.append([])
            channels.append(0)
        else:
            break
        index += 1
    return tuple(with_way_up(channels, down, depths))


def with_way_up(
    channels: list[int], down: list[list[int]], depths: Mapping[str, int]
) -> list[Level]:
    found: list[Level] = []
    index = 0
    for width, level in zip(reversed(channels), reversed(down), strict=True):
        up = [depths.get(f"output_blocks.{index + i}.1", 0) for i in range(len(level) + 1)]
        index += len(up)
        found.insert(0, Level(width, tuple(level), tuple(up)))
    return found


def unet_tensors(structure: UNetStructure) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of a U-Net, without the checkpoint's prefix."""
    return dict(all_tensors(structure))


def all_tensors(unet: UNetStructure) -> Tensors:
    first, last = unet.levels[0].channels, unet.levels[-1].channels
    time = 4 * first
    yield from conv("input_blocks.0.0", unet.in_channels, first)
    yield from linear("time_embed.0", first, time)
    yield from linear("time_embed.2", time, time)
    if unet.label_width is not None:
        yield from linear("label_emb.0.0", unet.label_width, time)
        yield from linear("label_emb.0.2", time, time)
    skips = yield from way_down(unet, time)
    if unet.middle is not None:
        yield from resnet("middle_block.0", last, last, time)
    if unet.middle:
        yield from transformer("middle_block.1", last, unet.middle, unet)
        yield from resnet("middle_block.2", last, last, time)
    yield from way_up(unet, time, skips)
    yield from norm("out.0", first)
    yield from conv("out.2", first, unet.out_channels)


def way_down(
    unet: UNetStructure, time: int
) -> Generator[tuple[str, tuple[int, ...]], None, list[int]]:
    """Yield the tensors of the way down; returns the widths that the way up reads again."""
    width = unet.levels[0].channels
    skips = [width]
    for number, level in enumerate(unet.levels):
        for depth in level.depths:
            block = f"input_blocks.{len(skips)}"
            yield from resnet(f"{block}.0", width, level.channels, time)
            yield from transformer(f"{block}.1", level.channels, depth, unet)
            width = level.channels
            skips.append(width)
        if number < len(unet.levels) - 1:
            yield from conv(f"input_blocks.{len(skips)}.0.op", width, width)
            skips.append(width)
    return skips


def way_up(unet: UNetStructure, time: int, skips: list[int]) -> Tensors:
    width = unet.levels[-1].channels
    index = 0
    for number, level in reversed(list(enumerate(unet.levels))):
        for depth in level.up_depths:
            block = f"output_blocks.{index}"
            yield from resnet(f"{block}.0", width + skips.pop(), level.channels, time)
            yield from transformer(f"{block}.1", level.channels, depth, unet)
            width = level.channels
            index += 1
        if number:
            place = 2 if level.up_depths[-1] else 1
            yield from conv(f"output_blocks.{index - 1}.{place}.conv", width, width)


def resnet(prefix: str, width: int, channels: int, time: int) -> Tensors:
    yield from norm(f"{prefix}.in_layers.0", width)
    yield from conv(f"{prefix}.in_layers.2", width, channels)
    yield from linear(f"{prefix}.emb_layers.1", time, channels)
    yield from norm(f"{prefix}.out_layers.0", channels)
    yield from conv(f"{prefix}.out_layers.3", channels, channels)
    if width != channels:
        yield from conv(f"{prefix}.skip_connection", width, channels, size=1)


def transformer(prefix: str, width: int, depth: int, unet: UNetStructure) -> Tensors:
    if not depth:
        return
    yield from norm(f"{prefix}.norm", width)
    for name in ("proj_in", "proj_out"):
        one = linear if unet.linear else pointwise
        yield from one(f"{prefix}.{name}", width, width)
    for index in range(depth):
        block = f"{prefix}.transformer_blocks.{index}"
        for name in TRANSFORMER_NORMS:
            yield from norm(f"{block}.{name}", width)
        yield from attention(f"{block}.attn1", width, width)
        yield from attention(f"{block}.attn2", width, unet.context)
        yield from linear(f"{block}.ff.net.0.proj", width, 8 * width)
        yield from linear(f"{block}.ff.net.2", 4 * width, width)


def attention(prefix: str, width: int, context: int) -> Tensors:
    yield f"{prefix}.to_q.weight", (width, width)
    yield f"{prefix}.to_k.weight", (width, context)
    yield f"{prefix}.to_v.weight", (width, context)
    yield from linear(f"{prefix}.to_out.0", width, width)
