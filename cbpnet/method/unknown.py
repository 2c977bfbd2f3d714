"""How unlike anything known an image is: a relative Mahalanobis distance, of which a part is taken.

With the covariance within the classes ``W = (S + lambda I) / (N - C)`` and that of all classes
together, each counting once, ``T = W + B``, the unknown score of an image is

    min over c of (x - mu_c)' W^-1 (x - mu_c)  -  gamma (x - m)' T^-1 (x - m).

With gamma 1 it is the relative Mahalanobis distance (Ren et al., arXiv:2106.09022), twice the
logarithm of how much likelier the image is as one of another class of the same kind than of any
that is known: it tells new classes from known ones, but not what is like neither. With gamma 0 it
is the plain distance (Lee et al., arXiv:1807.03888), good at that and at nothing else. A gamma
between them is the same comparison with a background that is wider by its inverse.

Since ``(S + lambda I + w A'A)^-1 = P - P A' (I / w + A P A')^-1 A P`` the score is a quadratic
form of x - m and one term of each class, for which the readout's own products serve: beside it a
state needs one more matrix. Scores of counted images, each without itself, say where known ones end
(`cbpnet.method.threshold`).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cbpnet.method.left_out import LeftOut
from cbpnet.method.rows import times_rows
from cbpnet.method.statistics import class_centre
from cbpnet.method.whitening import LEAST, Whitening, directions, freedom

__all__ = ["UnknownHead", "left_out_unknown", "unknown_head", "unknown_scores"]

_GAMMA = 0.8


class UnknownHead(NamedTuple):
    """``metric`` [F, F] is the form of x - ``centre`` [F].

    A class's term is ``slope`` [C] times the product of x with its row of the readout, and
    ``offset`` [C].
    """

    centre: Tensor
    metric: Tensor
    slope: Tensor
    offset: Tensor


def unknown_head(
    metric: Whitening, count: Tensor, mean: Tensor, weight: Tensor, scale: Tensor
) -> UnknownHead:
    """Return what gives unknown scores beside a whitened readout's weight [C, F].

    ``scale`` [1] is in the weight already.
    """
    free, projected, centre = freedom(count), metric.projected, class_centre(count, mean)
    among = projected.T @ metric.related @ projected
    form = (1 - _GAMMA) * metric.inverse + _GAMMA * among
    squared = (projected * directions(count, mean)).sum(dim=1)
    length = squared.clamp(min=LEAST).sqrt()
    slope = -2 * length / (scale * count.sum().clamp(min=1).sqrt())
    offset = squared - slope * (weight @ centre)
    return UnknownHead(centre, free * form, free * slope, free * offset)


def unknown_scores(head: UnknownHead, count: Tensor, x: Tensor, products: Tensor) -> Tensor:
    """Return the unknown score [B] of images x [B, F].

    ``products`` [B, C] are theirs with the readout's weight.
    """
    r = x - head.centre
    terms = (head.slope * products + head.offset).masked_fill(count == 0, torch.inf)
    return (times_rows(r, head.metric) * r).sum(dim=1) + terms.amin(dim=1)


def left_out_unknown(left: LeftOut, count: Tensor) -> Tensor:
    """Return the unknown score [B] of counted images, each by what is known without it.

    ``count`` [C] is with them, and so are the degrees of freedom: the ridge outweighs few images,
    and is what it is with all of them.
    """
    distance = left.image - 2 * left.towards + left.squared
    nearest = distance.masked_fill(count == 0, torch.inf).amin(dim=1)
    within, explained = left.image.squeeze(1), left.explained.squeeze(1)
    return freedom(count) * (nearest - _GAMMA * (within - explained))
