"""The latents of crops, kept on disk by what they were made from.

Legend: C latent channels, H W height and width in pixels, h w of latents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ...files.atomic import write_atomic
from ...files.own import is_own_file, make_folder
from ...photos.crops import Crop

__all__ = ["LatentCache", "Latents"]


@dataclass(frozen=True)
class Latents:
    """The latents of one image, scaled, in float32.

    Args:
        mean: (C, h, w), of the VAE's distribution.
        spread: (C, h, w), its standard deviation; None where the mean itself is trained.
    """

    mean: Tensor
    spread: Tensor | None = None


class LatentCache:
    """The VAE's latents of images, kept on disk by what they were made from.

    Args:
        vae_key: the fingerprint of the VAE's file.
        encode: turns pixels (H, W, 3) of a photo of some name into mean and spread (2, C, h, w).
        sampled: whether the spread is needed too.
    """

    def __init__(
        self,
        folder: Path,
        vae_key: str,
        encode: Callable[[np.ndarray, str], Tensor],
        *,
        sampled: bool = False,
    ) -> None:
        self.folder = folder
        self.vae_key = vae_key
        self.encode = encode
        self.names = ("latents", "spread") if sampled else ("latents",)

    def latents(self, crop: Crop, name: str) -> Latents:
        """Return the latents of a crop of the photo of that name."""
        pixels = np.asarray(crop.image, dtype=np.uint8)  # (H, W, 3)
        digest = hashlib.sha256(f"{self.vae_key} {pixels.shape}".encode())
        digest.update(pixels.tobytes())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if is_own_file(path):  # KeyError: written when the mean was enough
            with suppress(OSError, SafetensorError, KeyError):  # damaged: rebuilt below
                found = load_file(path)
                return Latents(*(found[part] for part in self.names))
        made = self.encode(pixels, name).clone()
        found: dict[str, Tensor] = dict(zip(self.names, made, strict=False))
        make_folder(self.folder.parent.parent, self.folder)
        write_atomic(path, save(found))
        return Latents(*found.values())
