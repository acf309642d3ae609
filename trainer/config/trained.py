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
        help="lora: a small file on top of the base. full: the model itself (the original "
        "DreamBooth); the result is a complete checkpoint, and training needs several times the "
        "memory.",
    )
    rank: int = setting(
        16,
        minimum=1,
        maximum=256,
        help="Size of the LoRA. A higher rank holds more detail and overfits sooner.",
    )
    alpha: float | None = setting(
        None, above=0, maximum=1024, help="The LoRA is scaled by alpha / rank. None: same as rank.",
        advanced=True,
    )  # fmt: skip
    train_text_encoder: bool = setting(
        False, help="Also train the text encoder(s); needs more time and memory."
    )
    train_layers: str = setting(
        "",
        help="U-Net layers to train, as comma-separated patterns of diffusers' names, such as "
        "mid_block.*, up_blocks.1.*attn2*. Empty: all.",
        advanced=True,
    )
    save_precision: SavePrecision = setting(
        "fp16", help="Number format of the result file.", advanced=True
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
