"""Random numbers as a pure function of what they are for, so a resumed run gets the same."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator", "shuffled"]


def generator(seed: int, purpose: str, *indices: int) -> torch.Generator:
    """Return a CPU generator that depends only on its arguments."""
    text = " ".join(map(str, (seed, purpose, *indices)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def shuffled(size: int, position: int, seed: int, purpose: str) -> int:
    """Return the item at a position in endless epochs, each a new permutation of `size` items."""
    epoch, offset = divmod(position, size)
    return int(torch.randperm(size, generator=generator(seed, purpose, epoch))[offset])
