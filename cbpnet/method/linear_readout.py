"""The one-pass learner's classifier, solved from class statistics; whichever it is, it is linear.

"means" is the cosine to the class means: an image's own length changes no order and is left out.
"rls" is ridge regression to one-hot targets, whose second moment is ``S + sum n_c mu_c mu_c'``.
"whitened" is `cbpnet.method.whitening`.
"""

import torch
from torch import Tensor

from cbpnet.method.config import ReadoutConfig
from cbpnet.method.rows import unit_rows
from cbpnet.method.statistics import ClassStatistics, centre
from cbpnet.method.whitening import Whitening, identity, whitened_head

__all__ = ["solve_readout"]


def solve_readout(
    config: ReadoutConfig, known: ClassStatistics, metric: Whitening
) -> tuple[Tensor, Tensor]:
    """Return the weight [C, F] and bias [C] of a readout's scores.

    ``metric`` is that of the statistics. Classes without images get zeros.
    """
    if config.kind == "whitened":
        return whitened_head(metric, known.count, known.mean)
    if config.kind == "means":
        return unit_rows(known.mean), torch.zeros_like(known.count)
    return _ridge(config.regularisation, known)


def _ridge(regularisation: float, known: ClassStatistics) -> tuple[Tensor, Tensor]:
    """Return ridge regression on centred features and targets, so that the bias has no penalty."""
    middle = centre(known.count, known.mean)
    share = known.count / known.count.sum().clamp(min=1)
    away = known.mean - middle
    sums = known.count.unsqueeze(1) * away
    moment = known.scatter + away.T @ sums
    eye = identity(len(moment), moment)
    weight = sums @ torch.linalg.inv_ex(moment + regularisation * eye).inverse
    return weight, share - weight @ middle
