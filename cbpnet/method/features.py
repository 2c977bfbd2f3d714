"""What a learner makes of a backbone's features: one vector an image, each part of like size."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cbpnet.method.feature_names import ON_POOLED, FeatureName
from cbpnet.method.rows import unit_rows

__all__ = ["join_parts", "normalise_feature", "random_projection"]

_RANDOM_FEATURES = 1000
_RANDOM_SEED = 0


def random_projection(dim: int) -> Tensor:
    """Return the weight [1000, D] of "random", standard normal over the root of D.

    As in RanPAC (McDonnell et al., arXiv:2307.02251, section 4.1). It is the same whenever it is
    drawn, so that features of one run fit the statistics of another.
    """
    generator = torch.Generator().manual_seed(_RANDOM_SEED)
    drawn = torch.randn(_RANDOM_FEATURES, dim, generator=generator, device="cpu")
    return drawn / math.sqrt(dim)


def normalise_feature(feature: Tensor) -> Tensor:
    """Return features [B, D] at a root mean square of 1, so that one rate fits any backbone."""
    normalised: Tensor = unit_rows(feature) * feature.shape[1] ** 0.5
    return normalised


def join_parts(names: Sequence[FeatureName], parts: Sequence[Tensor]) -> Tensor:
    """Return an image's features [B, F] from the parts [B, d] of these names, side by side.

    "pooled", "patches" and blocks have a root mean square of 1. "logits" and "random" are
    ``max(h / s, 0)``, s being the standard deviation of an image's h over its entries.
    """
    scaled = [
        _rectified(part) if name in ON_POOLED else normalise_feature(part)
        for name, part in zip(names, parts, strict=True)
    ]
    return torch.cat(scaled, dim=1)


def _rectified(h: Tensor) -> Tensor:
    """Return ``max(h / s, 0)`` of h [B, d], s its standard deviation along the last axis."""
    deviation = h - h.mean(dim=1, keepdim=True)
    least = torch.finfo(h.dtype).tiny  # of an image whose entries are all alike
    variance = (deviation * deviation).mean(dim=1, keepdim=True).clamp(min=least)
    return (h * torch.rsqrt(variance)).relu()
