"""What a class mean of few images is owed beside those of many.

A mean of n images stands beside its class by the noise of an image over n. In the metric P the
noise of an image that was not counted is about ``tau = h / (1 - h)``, ``h = tr(P S) / (N - C)``
that of a counted one, as in generalised cross-validation (Golub, Heath and Wahba, 1979). Of C
classes around the centre m, the mean of their means, that has two effects on the cosine

    a_c / sqrt(b_c),   a_c = (x - m)' P (mu_c - m),   b_c = (mu_c - m)' P (mu_c - m):

- The noise of mu_c is in m too, and takes ``tau / C (1 / n_c - mean of all 1 / n)`` from a_c on
  average, which is given back.
- It makes mu_c longer by ``tau (1 - 2 / C) / n_c``, so that images of the class have a cosine of
  ``sqrt(b) - b / sqrt(b_c)`` less than if it had the length b, which is typical for images'
  classes. Three quarters of that are given back: all where a rival's direction is its own, half
  where it is at a right angle.

Both are nothing where all classes have as many images.
"""

import torch
from torch import Tensor

__all__ = ["evened"]

_LEAST = 1e-12
_SHARE = 0.75


def evened(squared: Tensor, count: Tensor, trace: Tensor) -> tuple[Tensor, Tensor]:
    """Return what is added to a_c, and then to the cosine: [..., C] both.

    ``squared`` [..., C] are the b_c, ``count`` [..., C] the n_c and ``trace`` [..., 1] is tr(P S).
    Classes without images get zeros.
    """
    known = (count > 0).to(count.dtype)
    classes = known.sum(dim=-1, keepdim=True).clamp(min=1)
    images = count.sum(dim=-1, keepdim=True)
    h = trace / (images - classes).clamp(min=1)
    tau = h / (1 - h).clamp(min=_LEAST)
    rarity = known / count.clamp(min=1)
    shift = tau / classes * (rarity - rarity.sum(dim=-1, keepdim=True) / classes) * known
    typical = (count * squared).sum(dim=-1, keepdim=True) / images.clamp(min=1)
    excess = tau * (1 - 2 / classes).clamp(min=0) * (rarity - 1 / count.amax(-1, True).clamp(min=1))
    longer = typical + torch.minimum((squared - typical).clamp(min=0), excess.clamp(min=0))
    bonus = typical.sqrt() - typical / longer.clamp(min=_LEAST).sqrt()
    return shift, _SHARE * bonus * known
