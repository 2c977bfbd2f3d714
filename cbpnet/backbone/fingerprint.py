"""A short checksum that tells whether two runs have the same weights."""

import hashlib

import torch
from torch import nn

__all__ = ["fingerprint_weights"]

_DIGITS = 16


def fingerprint_weights(module: nn.Module) -> str:
    """Return 16 hexadecimal digits for a module's parameters and buffers, names and bytes.

    Of a module without memory (on the meta device) there are only names and shapes to tell.
    """
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        if not value.is_meta:
            digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_DIGITS]
