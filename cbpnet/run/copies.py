"""Pictures that are nearly alike: how many of its class each is to be left out with.

Pictures of one burst, or of one object on its way past, are no independent draws of their class. By
what is known without one of them, but with its likes, it is answered better than any picture to
come will be.
"""

import numpy as np

from cbpnet.host.arrays import Array

__all__ = ["count_copies"]

_DEVIATIONS = 5.0  # of the cosine of independent directions, 1 / sqrt(F)


def count_copies(x: Array, labels: Array, mean: Array, inverse: Array) -> Array:
    """Return how many counted images each of x [N, F] is like, itself with them, [N] from 1.

    With d = x - mu_c and P the metric's ``inverse`` [F, F], images of a class are alike where the
    cosine of their d in P is above 5 / sqrt(F), which independent ones have once in millions; each
    counts the share of d that it has, at most 1. ``mean`` [C, F] are the class means.
    """
    away = x - mean[labels]
    projected = away @ inverse
    length = np.sqrt(np.maximum((away * projected).sum(axis=1), np.finfo(np.float32).tiny))
    copies = np.ones(len(x), np.float32)
    for label in np.unique(labels):
        rows = (labels == label).nonzero()[0]
        cosine = away[rows] @ projected[rows].T / np.outer(length[rows], length[rows])
        share = np.minimum(cosine * length[rows] / length[rows, None], 1)
        alike = cosine > _DEVIATIONS / np.sqrt(x.shape[1])
        np.fill_diagonal(alike, False)
        copies[rows] += (share * alike).sum(axis=1)
    return copies
