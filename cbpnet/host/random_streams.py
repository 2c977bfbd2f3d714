"""Independent random numbers from one seed."""

import hashlib

import torch

__all__ = ["random_stream"]


def random_stream(seed: int, purpose: int) -> torch.Generator:
    """Return the generator of one purpose under a seed.

    The two are hashed together: torch's CPU generator keeps only the low 32 bits of what it is
    seeded with, so that a purpose in higher bits would be lost.
    """
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))
