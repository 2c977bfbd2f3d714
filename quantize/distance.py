"""How far rounded tensors are from exact ones."""

import math

import torch
from torch import Tensor

__all__ = ["flat_cosine", "mean_cosine", "sqnr_db"]


def mean_cosine(exact: Tensor, rounded: Tensor) -> float:
    """Return the mean over rows of the cosine between rows of two tensors [N, D]."""
    cosines = torch.cosine_similarity(exact.double(), rounded.double(), dim=1)
    return float(cosines.mean())


def flat_cosine(exact: Tensor, rounded: Tensor) -> float:
    """Return the cosine between two tensors of any shape; 1 where both are zero, 0 where one is."""
    first, second = exact.double().flatten(), rounded.double().flatten()
    size = first.norm() * second.norm()
    if not size:
        return 1.0 if first.equal(second) else 0.0
    return float(first @ second / size)


def sqnr_db(exact: Tensor, rounded: Tensor) -> float:
    """Return the signal-to-quantisation-noise ratio in decibels, ``10 lg (|x|^2 / |x - y|^2)``.

    It is infinite for equal tensors, minus infinite where only the exact one is zero.
    """
    signal = float(exact.double().square().sum())
    noise = float((exact.double() - rounded.double()).square().sum())
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
