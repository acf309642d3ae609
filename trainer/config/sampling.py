"""The settings of the images sampled during training."""

from __future__ import annotations

from dataclasses import dataclass

from .settings import setting

__all__ = ["SampleConfig"]


@dataclass(frozen=True)
class SampleConfig:
    """The images sampled during training, always with the same seeds."""

    sample_every: int | None = setting(
        200, minimum=1, maximum=1_000_000, help="Steps between samples. None: only at the end."
    )
    sample_prompts: tuple[str, ...] = setting(
        (),
        most=100,
        help="Prompts for samples; {subject} stands for each subject's words in its instance "
        "prompt. None: the instance prompt.",
        advanced=True,
    )
    sample_negative_prompt: str = setting("", help="Negative prompt for samples.", advanced=True)
    sample_guidance_scale: float = setting(
        7.5, minimum=1, maximum=30, help="Guidance scale (CFG) for samples.", advanced=True
    )
    sample_inference_steps: int = setting(
        20, minimum=1, maximum=200, help="Sampling steps for samples.", advanced=True
    )
    sample_seed: int = setting(
        42, minimum=0, maximum=2**32 - 1, help="Seed of the first sample.", advanced=True
    )
