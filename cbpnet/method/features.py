"""The joint features of one forward pass, from parts that `cbpnet.method.feature_names` lists."""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from cbpnet.method.feature_names import is_rectified
from cbpnet.method.rows import unit_rows

__all__ = ["join_parts", "normalise_feature", "random_projection"]

_RANDOM_SEED = 0


@cache
def random_projection(dim: int, size: int) -> Tensor:
    """Return the weight [size, D] of random features, standard normal over the root of D.

    As in RanPAC (McDonnell et al., arXiv:2307.02251, section 4.1). It is the same whenever it is
    drawn, so that features of one run fit the statistics of another.
    """
    generator = torch.Generator().manual_seed(_RANDOM_SEED)
    drawn = torch.randn(size, dim, generator=generator, device="cpu")
    return drawn / math.sqrt(dim)


def join_parts(names: Sequence[str], parts: Sequence[Tensor]) -> Tensor:
    """Return the joint features x [B, F] of a pass's parts [B, d], each at a size of its own.

    Vectors get a root mean square of 1 and logits a standard deviation of 1 before they are
    rectified, image by image, so that no part outweighs the others on any backbone.
    """
    joined = [
        _rectified(part) if is_rectified(name) else normalise_feature(part)
        for name, part in zip(names, parts, strict=True)
    ]
    return torch.cat(joined, dim=1)


def normalise_feature(feature: Tensor) -> Tensor:
    """Return features [B, D] at a root mean square of 1, so that one rate fits any backbone."""
    normalised: Tensor = unit_rows(feature) * feature.shape[1] ** 0.5
    return normalised


def _rectified(part: Tensor) -> Tensor:
    centred = part - part.mean(dim=1, keepdim=True)
    return torch.relu(part / (centred.square().mean(dim=1, keepdim=True) + 1e-12).sqrt())
