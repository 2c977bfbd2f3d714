"""The metric of the scatter within the classes, and cosines to the classes in it.

With m the mean of the class means mu_c and ``P = (S + lambda I)^-1``, the score of class c is

    sqrt(N) (x - m)' P (mu_c - m) / sqrt((mu_c - m)' P (mu_c - m)),

which is linear in x, and where classes have different numbers of images corrected as
`cbpnet.method.imbalance` says. ``lambda = prior tr(S) / (N - C)``, what ``prior`` images of as many
classes as there are features would weigh, so that one prior fits features of any number and scale.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cbpnet.method.imbalance import evened
from cbpnet.method.statistics import ClassStatistics, class_centre

__all__ = ["LEAST", "Whitening", "directions", "freedom", "identity", "whiten", "whitened_head"]

LEAST = 1e-12  # of a squared distance: a class that stands in the centre has no direction


class Whitening(NamedTuple):
    """The metric of statistics.

    ``inverse`` is P [F, F] and ``projected`` has the rows P (mu_c - m) [C, F], 0 for classes
    without images. ``ridge`` [1] is lambda, and ``trace`` [1] is tr(P S), the images' squared
    distances to their class means. ``related`` [C, C] is ``(C / (N - C) I + G)^-1`` with G the
    products of the mu_c - m in the metric: what takes P to the metric of all classes together, see
    `cbpnet.method.unknown`.
    """

    inverse: Tensor
    projected: Tensor
    ridge: Tensor
    trace: Tensor
    related: Tensor


def identity(size: int, like: Tensor) -> Tensor:
    """Return an identity matrix as a computation: a program need not hold it."""
    index = torch.arange(size, device=like.device)
    return (index.unsqueeze(0) == index.unsqueeze(1)).to(like.dtype)


def freedom(count: Tensor) -> Tensor:
    """Return the degrees of freedom N - C of the scatter within the classes, at least 1."""
    return (count.sum() - (count > 0).sum()).clamp(min=1)


def whiten(known: ClassStatistics, prior: Tensor) -> Whitening:
    """Return the metric by a prior [1] above 0; without any scatter P is the identity."""
    count, scatter = known.count, known.scatter
    eye = identity(len(scatter), scatter)
    spread = (scatter * eye).sum()
    ridge = torch.where(spread > 0, prior * spread / freedom(count), 1.0)
    inverse: Tensor = torch.linalg.inv_ex(scatter + ridge * eye).inverse
    away = directions(count, known.mean)
    projected = away @ inverse
    among = (count > 0).sum().clamp(min=1) / freedom(count) * identity(len(count), scatter)
    related: Tensor = torch.linalg.inv_ex(among + projected @ away.T).inverse
    trace = (inverse * scatter).sum().unsqueeze(0)
    return Whitening(inverse, projected, ridge, trace, related)


def whitened_head(metric: Whitening, count: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight [C, F] and bias [C] of the scores; zeros for classes without images."""
    squared = (metric.projected * directions(count, mean)).sum(dim=1)
    images, length = count.sum(), squared.clamp(min=LEAST).sqrt()
    weight = images.sqrt() * metric.projected / length.unsqueeze(1)
    shift, bonus = evened(squared, count, metric.trace)
    corrections = images.sqrt() * (shift / length + bonus)
    return weight, corrections - weight @ class_centre(count, mean)


def directions(count: Tensor, mean: Tensor) -> Tensor:
    """Return mu_c - m [C, F]; zeros for classes without images."""
    return (mean - class_centre(count, mean)) * (count > 0).unsqueeze(1)
