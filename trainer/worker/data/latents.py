"""The latents of crops, kept on disk by what they were made from.

Legend: C latent channels, H W height and width in pixels, h w of latents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ...files.atomic import write_atomic
from ...files.own import is_own_file, make_folder
from ...photos.crops import Crop

__all__ = ["LatentCache"]


class LatentCache:
    """The VAE's latents of images, kept on disk by what they were made from.

    Args:
        vae_key: the fingerprint of the VAE's file.
        encode: turns pixels (H, W, 3) of a photo of some name into latents.
    """

    def __init__(
        self, folder: Path, vae_key: str, encode: Callable[[np.ndarray, str], Tensor]
    ) -> None:
        self.folder = folder
        self.vae_key = vae_key
        self.encode = encode

    def latents(self, crop: Crop, name: str) -> Tensor:
        """Return the scaled latents (C, h, w) of a crop of the photo of that name, in float32."""
        pixels = np.asarray(crop.image, dtype=np.uint8)  # (H, W, 3)
        digest = hashlib.sha256(f"{self.vae_key} {pixels.shape}".encode())
        digest.update(pixels.tobytes())
        path = self.folder / f"{digest.hexdigest()}.safetensors"
        if is_own_file(path):
            with suppress(OSError, SafetensorError, KeyError):  # damaged: rebuilt below
                return load_file(path)["latents"]
        latents = self.encode(pixels, name)
        make_folder(self.folder.parent.parent, self.folder)
        write_atomic(path, save({"latents": latents}))
        return latents
