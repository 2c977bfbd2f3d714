"""The whitened readout: a cosine in the metric of the scatter within the classes.

With m the mean over all N images and ``P = (S + lambda I)^-1``, the score of class c is

    sqrt(N) (x - m)' P (mu_c - m) / sqrt((mu_c - m)' P (mu_c - m)),

which is linear in x. ``lambda = prior tr(S) / (N - C)``, what ``prior`` images of as many classes
as there are features would weigh, so that one prior fits features of any number and scale.
Statistics without one image follow in closed form: with d = x - mu_c,
``P- = P + k P d d' P / (1 - k d' P d)``, k = n_c / (n_c - 1) (Sherman and Morrison, 1950), so that
every image can be classified by what is known without it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cbpnet.method.statistics import ClassStatistics, centre

__all__ = ["Whitening", "identity", "left_out_scores", "whiten", "whitened_head"]

_LEAST = 1e-12  # of a squared distance: a class that stands in the centre has no direction


class Whitening(NamedTuple):
    """The metric of statistics: ``inverse`` P [F, F] and ``projected`` P (mu_c - m) [C, F].

    Projected rows are 0 for classes without images.
    """

    inverse: Tensor
    projected: Tensor


def identity(size: int, like: Tensor) -> Tensor:
    """Return an identity matrix as a computation: a program need not hold it."""
    index = torch.arange(size, device=like.device)
    return (index.unsqueeze(0) == index.unsqueeze(1)).to(like.dtype)


def whiten(known: ClassStatistics, prior: Tensor) -> Whitening:
    """Return the metric by a prior [1] above 0; without any scatter P is the identity."""
    eye = identity(len(known.scatter), known.scatter)
    spread = (known.scatter * eye).sum()
    freedom = (known.count.sum() - (known.count > 0).sum()).clamp(min=1)
    weight = torch.where(spread > 0, prior * spread / freedom, 1.0)
    inverse: Tensor = torch.linalg.inv_ex(known.scatter + weight * eye).inverse
    return Whitening(inverse, _directions(known.count, known.mean) @ inverse)


def whitened_head(metric: Whitening, count: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight [C, F] and bias [C] of the scores; zeros for classes without images."""
    squared = (metric.projected * _directions(count, mean)).sum(dim=1, keepdim=True)
    weight = count.sum().sqrt() * metric.projected / squared.clamp(min=_LEAST).sqrt()
    return weight, -(weight @ centre(count, mean))


def left_out_scores(
    metric: Whitening, count: Tensor, mean: Tensor, x: Tensor, targets: Tensor
) -> Tensor:
    """Return the scores [B, C] of counted images x [B, F], each by the statistics without it.

    ``targets`` [B, C] are one-hot. Scores of an image whose class has no other mean nothing, nor do
    those of classes without images.
    """
    middle, images = centre(count, mean), count.sum()
    own = targets @ count
    others = (own - 1).clamp(min=1)
    r, d = x - middle, x - targets @ mean
    pa, pr, pd = metric.projected, r @ metric.inverse, d @ metric.inverse
    aa = (pa * _directions(count, mean)).sum(dim=1)
    ar, ad = r @ pa.T, d @ pa.T
    rr, rd, dd = (
        (left * right).sum(dim=1, keepdim=True) for left, right in ((pr, r), (pr, d), (pd, d))
    )
    # Without the image, class c stands at mu_c - m + s r + t_c d, and the image at (1 + s) r.
    s = 1 / (images - 1).clamp(min=1)
    t = -targets / others.unsqueeze(1)
    to_image = ar + s * rr + t * rd
    to_own = ad + s * rd + t * dd
    squared = aa + s * s * rr + t * t * dd + 2 * (s * ar + t * ad + s * t * rd)
    k = (own / others).unsqueeze(1)
    kappa = k / (1 - k * dd).clamp(min=_LEAST)
    numerator = (1 + s) * (to_image + kappa * rd * to_own)
    return images.sqrt() * numerator / (squared + kappa * to_own * to_own).clamp(min=_LEAST).sqrt()


def _directions(count: Tensor, mean: Tensor) -> Tensor:
    """Return mu_c - m [C, F]; zeros for classes without images."""
    return (mean - centre(count, mean)) * (count > 0).unsqueeze(1)
