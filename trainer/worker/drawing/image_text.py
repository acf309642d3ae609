"""What a generated image's file says of how it was made, as A1111 writes and shows it."""

from __future__ import annotations

from collections.abc import Mapping

from ... import __version__
from ..base.models import BaseModel
from .sampler import Sampler

__all__ = ["image_text"]

SOLVER_TITLES = {"dpmpp_2m": "DPM++ 2M", "euler_ancestral": "Euler a"}


def image_text(
    base: BaseModel, sampler: Sampler, prompt: str, negative: str, seed: int, lora: str = ""
) -> Mapping[str, str]:
    """Return the text entries of a PNG file; of files only the names, without their folders.

    Args:
        lora: what was added to the base, in words.
    """
    height, width = sampler.size
    settings = {
        "Steps": sampler.inference_steps,
        "Sampler": SOLVER_TITLES[sampler.solver],
        "CFG scale": f"{sampler.guidance_scale:g}",
        "Seed": seed,
        "Size": f"{width}x{height}",
        "Model": base.path.name if base.is_folder else base.path.stem,
        **({"VAE": base.vae_path.stem} if base.vae_path else {}),
        **({"Clip skip": base.clip_skip} if base.clip_skip > 1 else {}),
        **({"LoRA": lora} if lora else {}),
        "Version": f"DreamBooth trainer {__version__}",
    }
    lines = [prompt, *([f"Negative prompt: {negative}"] if negative else [])]
    lines.append(", ".join(f"{name}: {value}" for name, value in settings.items()))
    return {"parameters": "\n".join(lines)}
