"""The settings of the images sampled during training."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import setting

__all__ = ["SampleConfig"]


@dataclass(frozen=True)
class SampleConfig:
    """The images sampled during training, always with the same seeds."""

    sample_every: int | None = setting(
        200,
        minimum=1,
        maximum=1_000_000,
        help=(
            "Steps between samples, the first before training, so that you can see when to stop. "
            "Lower: a closer look, but each sample takes time. none: only at the end."
        ),
    )
    sample_prompts: tuple[str, ...] = setting(
        (),
        most=100,
        help=(
            'What samples show; {subject} stands for your subject, as in "{subject} on the beach". '
            "Prompts unlike your photos show soonest whether it still follows prompts. none: the "
            "instance prompt."
        ),
        advanced=True,
    )
    sample_negative_prompt: str = setting("", help=("What samples should not show."), advanced=True)
    sample_guidance_scale: float = setting(
        7.5,
        minimum=1,
        maximum=30,
        help=(
            "How closely samples follow their prompt. Higher: stricter and harsher; lower: "
            "softer. Use what you will use later."
        ),
        advanced=True,
    )
    sample_inference_steps: int = setting(
        20,
        minimum=1,
        maximum=200,
        help=("Steps for each sample. More: cleaner and slower."),
        advanced=True,
    )
    sample_seed: int = setting(
        42,
        minimum=0,
        maximum=2**32 - 1,
        help=(
            "Seed of the first sample. The same is used at every step, so that samples can be "
            "compared."
        ),
        advanced=True,
    )
