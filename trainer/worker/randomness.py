"""Random numbers as a pure function of what they are for, so that a resumed run draws the same."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str, *indices: int) -> torch.Generator:
    """A CPU generator that depends on its arguments alone."""
    text = " ".join(map(str, (seed, purpose, *indices)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def shuffled(size: int, position: int, seed: int, purpose: str) -> int:
    """The item at a position of endless epochs, each a fresh permutation of `size` items."""
    epoch, offset = divmod(position, size)
    return int(torch.randperm(size, generator=generator(seed, purpose, epoch))[offset])
