"""Statistics of old classes, carried over a change of the features.

An adaptation moves the features of every image. Some images are seen before it, b, and after it, a:
the lesson's own, and kept pictures of old classes where there are any. A linear map is fitted to
the pairs by ridge regression to the identity, ``M = I + (B'B + ridge I)^-1 B'(A - B)``, and what is
known of the old classes goes through it: ``mu <- M' mu`` and ``S <- M' S M + N R'R / 2 n``. What
the map leaves of the n pairs, ``R = A - B M``, it leaves of the N old images too, about half of it
within their classes. A class with k kept pictures moves on by k / (k + 4) of what the map leaves of
them on average.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.whitening import identity

__all__ = ["Drift"]

_RIDGE = 0.5  # of a pair's mean squared length before
_RESIDUAL = 0.5
_KEPT_PRIOR = 4.0  # pictures' worth of trust in the map alone


@dataclass(frozen=True)
class Drift:
    """Sums over pairs of features: B'B, B'A and A'A, [F, F], and how many pairs [1].

    Of kept pictures, by class, ``count`` [C], and the sums ``before`` and ``after`` [C, F].
    """

    before_before: Tensor
    before_after: Tensor
    after_after: Tensor
    pairs: Tensor
    count: Tensor
    before: Tensor
    after: Tensor

    def with_pairs(self, before: Tensor, after: Tensor, weight: Tensor, kept: Tensor) -> "Drift":
        """Return the sums with pairs [B, F] that count ``weight`` [B] each; 0 marks padding.

        ``kept`` [B, C] are the one-hot classes of kept pictures, zeros for other images.
        """
        weighted = before * weight.unsqueeze(1)
        return Drift(
            self.before_before + weighted.T @ before,
            self.before_after + weighted.T @ after,
            self.after_after + (after * weight.unsqueeze(1)).T @ after,
            self.pairs + weight.sum(),
            self.count + kept.sum(dim=0),
            self.before + kept.T @ before,
            self.after + kept.T @ after,
        )

    def carry(self, known: ClassStatistics) -> ClassStatistics:
        """Return the statistics as if their images had been seen after the adaptation."""
        moment, cross = self.before_before, self.before_after
        eye = identity(len(moment), moment)
        ridge = _RIDGE * (moment * eye).sum() / self.pairs.clamp(min=1)
        moved = eye + torch.linalg.inv_ex(moment + ridge * eye).inverse @ (cross - moment)
        seen_by_both = cross.T @ moved
        residual = self.after_after - seen_by_both - seen_by_both.T + moved.T @ moment @ moved
        share = _RESIDUAL * known.count.sum() / self.pairs.clamp(min=1)
        left = (self.after - self.before @ moved) / (self.count + _KEPT_PRIOR).unsqueeze(1)
        return ClassStatistics(
            known.count,
            known.mean @ moved + left * (known.count > 0).unsqueeze(1),
            moved.T @ known.scatter @ moved + share * residual,
        )
