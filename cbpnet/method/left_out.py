"""What is known without one counted image, in closed form: products in the metric without it.

With d = x - mu_c, k = n_c / (n_c - 1) and ``kappa = k / (1 - k d' P d)`` the metric without x is
``P + kappa P d d' P`` (Sherman and Morrison, 1950), its class's mean moves by ``t d``,
t = -1 / (n_c - 1), and the centre of C classes by ``t d / C``. So every image can be classified,
and judged known or unknown, by what is known without it. The ridge and the degrees of freedom stay
what they are with all images.

An image that was counted m times goes with all of them: ``k = n_c m / (n_c - m)``,
``t = -m / (n_c - m)``. So do pictures that are nearly alike, as those of one burst or track are:
with its likes still counted an image says nothing of how images to come will be answered. They need
not be alike quite, so that no m above 1 takes more than half of ``1 - k d' P d``, nor the class's
last image.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cbpnet.method.imbalance import evened
from cbpnet.method.whitening import LEAST, Whitening, directions

__all__ = ["LeftOut", "leave_out", "left_out_scores"]


class LeftOut(NamedTuple):
    """Products of B images, each by the statistics without it.

    With m, P and mu_c those without the image: ``counts`` [B, C]; ``towards`` [B, C], the
    ``(x - m)' P (mu_c - m)``; ``squared`` [B, C], ``(mu_c - m)' P (mu_c - m)``; ``image`` [B, 1],
    ``(x - m)' P (x - m)``; ``trace`` [B, 1], tr(P S); ``explained`` [B, 1], ``a' R a`` with a the
    row of ``towards`` and R the metric's ``related``.
    """

    counts: Tensor
    towards: Tensor
    squared: Tensor
    image: Tensor
    trace: Tensor
    explained: Tensor


def leave_out(
    metric: Whitening, count: Tensor, mean: Tensor, x: Tensor, targets: Tensor, copies: Tensor
) -> LeftOut:
    """Return what is known without each of counted images x [B, F]; ``targets`` [B, C] are one-hot.

    ``copies`` [B] is how many images of its class each goes with, 1 where with itself alone. Of an
    image whose class has no other it means nothing.
    """
    away, known = directions(count, mean), (count > 0).to(x.dtype)
    own = (targets @ count).unsqueeze(1)
    d = x - targets @ mean
    r = d + targets @ away
    pr, pd = r @ metric.inverse, d @ metric.inverse
    rr, rd, dd = (
        (left * right).sum(dim=1, keepdim=True) for left, right in ((pr, r), (pr, d), (pd, d))
    )
    alone = own / (own - 1).clamp(min=1)
    most = (1 + alone * dd) / (2 * dd).clamp(min=LEAST)
    most = torch.minimum(own * most / (own + most), own - 1)
    gone = torch.minimum(copies.unsqueeze(1), most).clamp(min=1)
    others = (own - gone).clamp(min=1)
    k = own * gone / others
    kappa = k / (1 - k * dd).clamp(min=LEAST)
    # Without the image, class c stands at mu_c - m + v_c d, and the image at r + s d.
    s = gone / (others * known.sum().clamp(min=1))
    v = s * known - targets * gone / others
    ar, ad = r @ metric.projected.T, d @ metric.projected.T
    aa = (metric.projected * away).sum(dim=1)
    to_d, image_to_d = ad + v * dd, rd + s * dd
    towards = ar + s * ad + v * image_to_d + kappa * image_to_d * to_d
    squared = aa + 2 * v * ad + v * v * dd + kappa * to_d * to_d
    image = rr + 2 * s * rd + s * s * dd + kappa * image_to_d * image_to_d
    trace = metric.trace - metric.ridge * kappa * (pd * pd).sum(dim=1, keepdim=True)
    explained = _explained(metric.related, towards, ad, v, dd, k)
    return LeftOut(count - targets * gone, towards, squared, image, trace, explained)


def left_out_scores(left: LeftOut, images: Tensor) -> Tensor:
    """Return the scores [B, C] of images left out, as `whitened_head` would give them.

    ``images`` is their number N with the image, whose root multiplies the scores. Those of classes
    without images mean nothing.
    """
    shift, bonus = evened(left.squared, left.counts, left.trace)
    length = left.squared.clamp(min=LEAST).sqrt()
    return images.sqrt() * ((left.towards + shift) / length + bonus)


def _explained(
    related: Tensor, towards: Tensor, ad: Tensor, v: Tensor, dd: Tensor, k: Tensor
) -> Tensor:
    """Return ``a' R a`` [B, 1] where R is without the image: of a change of G of rank two.

    With g = ``ad``, G without the image is G + U M U' with U = [g, v] and M^-1 = [-d'Pd, 1; 1, -k].
    """
    rg, rv = ad @ related, v @ related
    gg, gv, vv = (
        (one * other).sum(dim=1, keepdim=True) for one, other in ((rg, ad), (rg, v), (rv, v))
    )
    ag, av = ((towards * row).sum(dim=1, keepdim=True) for row in (rg, rv))
    first, cross, last = gg - dd, gv + 1, vv - k
    change = last * ag * ag - 2 * cross * ag * av + first * av * av
    determinant = (first * last - cross * cross).clamp(max=-LEAST)
    plain = (towards @ related * towards).sum(dim=1, keepdim=True)
    return plain - change / determinant
