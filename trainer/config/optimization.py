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
        800,
        minimum=1,
        maximum=1_000_000,
        help=(
            "How long to train. About 500 to 800 steps suit 5 photos, 1000 to 1500 suit 10, 1500 "
            "to 2500 suit 20. Too few: no likeness. Too many: every image copies the photos; then "
            "use an earlier sample's number."
        ),
    )
    learning_rate: float | None = setting(
        None,
        none="auto",
        above=0,
        maximum=1,
        help=(
            "How big each step is. Too high: garish or broken images; too low: no likeness after "
            "many steps. auto (1e-4 for a LoRA, 5e-6 for a full fine-tune) suits most; halve it "
            "if samples fall apart."
        ),
    )
    text_encoder_learning_rate: float | None = setting(
        None,
        none="auto",
        above=0,
        maximum=1,
        help=(
            "The same for the text encoder. Higher: your word is learned sooner and harms other "
            "prompts sooner. auto: 5e-5 for a LoRA, learning_rate for a full fine-tune."
        ),
        advanced=True,
    )
    text_encoder_2_learning_rate: float | None = setting(
        None,
        none="auto",
        above=0,
        maximum=1,
        help=("The same for SDXL's second text encoder. auto: as for the first."),
        advanced=True,
    )
    text_encoder_train_steps: int | None = setting(
        None,
        none="all",
        minimum=1,
        maximum=1_000_000,
        help=(
            "Stop teaching the text encoder after this many steps. Lower keeps prompts more "
            "flexible. all: until the end."
        ),
        advanced=True,
    )
    optimizer: OptimizerName = setting(
        "adamw",
        help=(
            "adamw: the usual one. adamw8bit: nearly the same with less memory; paged_adamw8bit: "
            "can also move some to system memory (both need bitsandbytes). adafactor: the least "
            "memory, for full fine-tunes of SDXL."
        ),
        advanced=True,
    )
    train_batch_size: int = setting(
        1,
        minimum=1,
        maximum=64,
        help=(
            "Photos learned from in each step. Higher: smoother learning, more memory and slower "
            "steps; then fewer steps are enough. 1 is fine. Class images come on top."
        ),
    )
    gradient_accumulation_steps: int = setting(
        1,
        minimum=1,
        maximum=256,
        help=(
            "Works like a larger train_batch_size without more memory: 4 makes each step four "
            "times as long. Leave it at 1 unless you know why."
        ),
        advanced=True,
    )
    lr_scheduler: LRSchedule = setting(
        "constant",
        help=(
            "How the learning rate changes over time. constant: stays, so you can use any step's "
            "sample. cosine and the others: lower towards the end, for a gentler finish."
        ),
        advanced=True,
    )
    lr_num_cycles: int | None = setting(
        None,
        minimum=1,
        maximum=1000,
        help=("How often cosine_with_restarts begins again. none: 3."),
        advanced=True,
    )
    lr_power: float | None = setting(
        None,
        above=0,
        maximum=10,
        help=("How fast polynomial falls. Higher: sooner. none: 2."),
        advanced=True,
    )
    lr_warmup_steps: int = setting(
        0,
        minimum=0,
        maximum=100_000,
        help=(
            "Steps in which the learning rate grows to its full size. Raise it to 50 or 100 if "
            "the first samples break."
        ),
        advanced=True,
    )
    weight_decay: float = setting(
        0.01,
        minimum=0,
        maximum=1,
        help=(
            "Pulls the learned changes back a little. Higher: milder effect; rarely worth changing."
        ),
        advanced=True,
    )
    max_grad_norm: float = setting(
        1.0,
        above=0,
        maximum=1000,
        help=(
            "Limits how far one odd photo can pull in a step. Lower: steadier and slower "
            "learning; rarely worth changing."
        ),
        advanced=True,
    )
    noise_offset: float = setting(
        0.0,
        minimum=0,
        maximum=1,
        help=(
            "Lets images become darker or brighter as a whole. 0.05 to 0.1 helps with very dark, "
            "bright or flat styles; more makes colors drift."
        ),
        advanced=True,
    )
    latents: LatentsChoice = setting(
        "mean",
        help=(
            "mean: each photo is always read the same way. sampled: with slight random variation, "
            "as in the published scripts. The difference is small."
        ),
        advanced=True,
    )
    snr_gamma: float | None = setting(
        None,
        above=0,
        maximum=100,
        help=(
            "Evens out learning of coarse shapes and fine detail. 5 is usual and can make "
            "learning steadier; higher values do less. none: off."
        ),
        advanced=True,
    )
    mixed_precision: Precision = setting(
        "auto",
        help=(
            "Number format of the computation. auto picks the best for your card; no needs twice "
            "the memory. Change it only if images turn black or the loss is not a number."
        ),
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        help=(
            "Saves much memory and is about 40% slower; the result is the same. auto: on where "
            "even one image at a time does not fit without."
        ),
        advanced=True,
    )
    seed: int = setting(
        0,
        minimum=0,
        maximum=2**32 - 1,
        help=(
            "Any number. The same settings and number give the same result; another gives a "
            "slightly different one."
        ),
    )
