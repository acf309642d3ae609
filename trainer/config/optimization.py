"""The settings of the optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .settings import setting

__all__ = ["LRSchedule", "LatentsChoice", "OptimizerName", "Precision", "TrainingConfig"]

Precision = Literal["auto", "no", "fp16", "bf16"]
LRSchedule = Literal["constant", "linear", "cosine", "cosine_with_restarts", "polynomial"]
LatentsChoice = Literal["mean", "sampled"]
OptimizerName = Literal["adamw", "adamw8bit", "paged_adamw8bit", "adafactor"]


@dataclass(frozen=True)
class TrainingConfig:
    """Steps, learning rates, batch size, loss and precision of the optimization."""

    max_train_steps: int = setting(
        800, minimum=1, maximum=1_000_000, help="Optimizer steps; about 100 to 200 per photo."
    )
    learning_rate: float | None = setting(
        None,
        none="auto",
        above=0,
        maximum=1,
        help="Learning rate of the U-Net. auto: 1e-4 for a LoRA, 5e-6 for a full fine-tune.",
    )
    text_encoder_learning_rate: float | None = setting(
        None,
        none="auto",
        above=0,
        maximum=1,
        help="Learning rate of the text encoder. auto: 5e-5 for a LoRA, the U-Net's "
        "for a full fine-tune.",
        advanced=True,
    )
    text_encoder_2_learning_rate: float | None = setting(
        None,
        none="auto",
        above=0,
        maximum=1,
        help="Learning rate of SDXL's second text encoder. auto: that of the first.",
        advanced=True,
    )
    text_encoder_train_steps: int | None = setting(
        None,
        none="all",
        minimum=1,
        maximum=1_000_000,
        help="Steps after which the text encoders are no longer trained.",
        advanced=True,
    )
    optimizer: OptimizerName = setting(
        "adamw",
        help="adamw; adamw8bit: its state in a quarter of the memory; paged_adamw8bit: that may "
        "also move to system memory (both through bitsandbytes); adafactor: hardly any state, "
        "for full fine-tunes of SDXL.",
        advanced=True,
    )
    train_batch_size: int = setting(
        1, minimum=1, maximum=64, help="Photos per forward pass. Class images are added to these."
    )
    gradient_accumulation_steps: int = setting(
        1, minimum=1, maximum=256, help="Forward passes per optimizer step.", advanced=True
    )
    lr_scheduler: LRSchedule = setting(
        "constant", help="Learning rate schedule after warm-up.", advanced=True
    )
    lr_num_cycles: int | None = setting(
        None,
        minimum=1,
        maximum=1000,
        help="Cycles of cosine_with_restarts. None: 3.",
        advanced=True,
    )
    lr_power: float | None = setting(
        None, above=0, maximum=10, help="Power of polynomial. None: 2.", advanced=True
    )
    lr_warmup_steps: int = setting(
        0,
        minimum=0,
        maximum=100_000,
        help="Steps until the full learning rate is reached.",
        advanced=True,
    )
    weight_decay: float = setting(
        0.01, minimum=0, maximum=1, help="Weight decay of the optimizer.", advanced=True
    )
    max_grad_norm: float = setting(
        1.0, above=0, maximum=1000, help="Gradients are clipped to this norm.", advanced=True
    )
    noise_offset: float = setting(
        0.0,
        minimum=0,
        maximum=1,
        help="Per-channel shift of the noise; helps with very dark or flat styles.",
        advanced=True,
    )
    latents: LatentsChoice = setting(
        "mean",
        help="mean: an image's latents are the mean of what the VAE gives; sampled: drawn from its "
        "distribution in every step, as in the published scripts.",
        advanced=True,
    )
    snr_gamma: float | None = setting(
        None, above=0, maximum=100, help="Min-SNR loss weighting; 5 is usual.", advanced=True
    )
    mixed_precision: Precision = setting(
        "auto", help="Number format of the computation. What is trained is always float32."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        help="Uses less memory and is about 40% slower. auto: on where even one image at a time "
        "does not fit without.",
        advanced=True,
    )
    seed: int = setting(0, minimum=0, maximum=2**32 - 1, help="Same seed, same result.")
