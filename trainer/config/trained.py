"""The settings of what is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .settings import setting

__all__ = ["Method", "SavePrecision", "TrainedConfig"]

Method = Literal["lora", "full"]
SavePrecision = Literal["fp16", "bf16", "fp32"]


@dataclass(frozen=True)
class TrainedConfig:
    """What is trained: a LoRA or the models themselves, and which of their layers."""

    method: Method = setting(
        "lora",
        help=(
            "lora: a small file that is added to the base; right for nearly everything. full: a "
            "complete new checkpoint (the original DreamBooth); needs several times the memory "
            "and disk space."
        ),
    )
    rank: int = setting(
        16,
        minimum=1,
        maximum=256,
        help=(
            "How much the LoRA can hold. 8 to 16 suit a person, pet or object, 32 a style. "
            "Higher: more detail, a larger file, and it copies the photos sooner."
        ),
    )
    alpha: float | None = setting(
        None, above=0, maximum=1024, help=(
        "How strongly the LoRA acts: alpha divided by rank. Half the rank makes training "
        "gentler, so it needs more steps. none: the same as rank."
    ),
        advanced=True,
    )  # fmt: skip
    train_text_encoder: bool = setting(
        False,
        help=(
            "Also teaches the model's reading of your word. It may learn a likeness sooner, but "
            "loses flexibility sooner, and needs more time and memory. For SDXL it is rarely "
            "needed."
        ),
    )
    train_layers: str = setting(
        "",
        help=(
            "For experts: trains only some of the U-Net's layers, as comma-separated patterns of "
            "diffusers' names, such as mid_block.*, up_blocks.1.*attn2*. Fewer learn less and "
            "change less. Empty: all."
        ),
        advanced=True,
    )
    save_precision: SavePrecision = setting(
        "fp16",
        help=(
            "Number format of the result. fp16 suits every host; fp32 doubles the file with no "
            "visible gain."
        ),
        advanced=True,
    )

    @property
    def effective_alpha(self) -> float:
        """The alpha in effect: the rank if none is set."""
        return float(self.rank) if self.alpha is None else self.alpha

    @property
    def is_full(self) -> bool:
        """Whether the models themselves are trained."""
        return self.method == "full"

    @property
    def layer_patterns(self) -> tuple[str, ...]:
        """The patterns of the U-Net's layers to train; none: all are."""
        return tuple(pattern.strip() for pattern in self.train_layers.split(",") if pattern.strip())
