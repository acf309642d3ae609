"""The settings of what is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .settings import setting

__all__ = ["TrainedConfig"]


@dataclass(frozen=True)
class TrainedConfig:
    """The size and scope of the LoRA."""

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
    save_precision: Literal["fp16", "bf16", "fp32"] = setting(
        "fp16", help="Number format of the LoRA file.", advanced=True
    )

    @property
    def effective_alpha(self) -> float:
        """The alpha in effect: the rank if none is set."""
        return float(self.rank) if self.alpha is None else self.alpha
