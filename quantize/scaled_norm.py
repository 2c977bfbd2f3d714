"""Norms for numbers with a narrow range: each token is divided by its largest absolute value first.

A norm has no scale, so that it changes nothing. But a pretrained ViT has massive activations: the
square of 565 is infinite in half precision, and has no scale of 16 bits in common with that of 1.
Of what lies within ±1 the largest square is 1, and the mean of D squares at least 1 / D, beside
which a norm's epsilon is nothing.
"""

import torch
from torch import Tensor

__all__ = ["scaled_layer_norm", "scaled_rms_norm"]


def scaled_rms_norm(x: Tensor, eps: float, guard: float = 0.0) -> Tensor:
    """Return `quantize.operators.rms_norm` of x [..., D], less its epsilon; forward only.

    ``guard`` is added to the largest absolute value: a token of zeros needs it.
    """
    largest = x.abs().amax(dim=-1, keepdim=True)
    scaled = x * (largest + guard if guard else largest).reciprocal()
    return scaled * torch.rsqrt(_mean(scaled * scaled))


def scaled_layer_norm(x: Tensor, eps: float, guard: float = 0.0) -> Tensor:
    """Return `quantize.operators.layer_norm` of x [..., D], less its epsilon; forward only."""
    return scaled_rms_norm(x - _mean(x), eps, guard)


def _mean(x: Tensor) -> Tensor:
    total: Tensor = x.sum(dim=-1, keepdim=True)
    return total * (1 / x.shape[-1])
