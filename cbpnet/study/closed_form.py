"""Peers of CBPNet that need no gradient through the backbone, on its frozen query features.

Each takes the features [N, D] and labels [N] of one task after another and scores all classes
seen so far. `NearestClassMean`, `Ridge` and `RanPAC` keep sums only: whatever the order and the
portions in which the images come, the result is that of all images at once, and no past image is
needed. `LinearProbe` keeps every feature; it is not incremental, but the upper bound.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError

__all__ = [
    "LinearProbe",
    "NearestClassMean",
    "Peer",
    "RanPAC",
    "Ridge",
    "RidgeSolution",
    "solve_ridge",
]

_RELATIVE_PENALTIES = torch.logspace(3, -6, 37, dtype=torch.float64)  # the largest wins a tie
_MOST_FREEDOM = 0.8  # degrees of freedom an image
_PROBE_PENALTIES = (0.003, 0.01, 0.03, 0.1)  # scikit-learn's C, on standardised features
_PROBE_VALIDATION = 5  # every fifth image of a class


class Peer(Protocol):
    """A classifier of query features that learns task after task."""

    def fit_task(self, features: Tensor, labels: Tensor) -> None:
        """Learn from features [N, D] and their classes, int64 [N] in [0, num_classes).

        Raises:
            InputError: the shapes do not fit, a label is out of range, a feature is not finite.
        """

    def scores(self, features: Tensor) -> Tensor:
        """Return float64 [N, num_classes], larger is likelier, -inf for classes not yet seen.

        Raises:
            InputError: nothing has been learnt yet, or the features are not finite [N, D].
        """


class NearestClassMean:
    """Cosine between an image's feature and the mean feature of each class."""

    def __init__(self, feature_size: int, num_classes: int) -> None:
        self.sums = torch.zeros(num_classes, feature_size, dtype=torch.float64)
        self.counts = torch.zeros(num_classes, dtype=torch.float64)

    def fit_task(self, features: Tensor, labels: Tensor) -> None:
        features = _checked_features(features, self.sums.shape[1])
        _check_labels(labels, len(features), len(self.counts))
        self.sums.index_add_(0, labels, features)
        self.counts += torch.bincount(labels, minlength=len(self.counts))

    def scores(self, features: Tensor) -> Tensor:
        _check_learnt(self.counts)
        features = _checked_features(features, self.sums.shape[1])
        # A sum points where its mean does, so the cosine needs no division by the count.
        cosines = _normalised(features) @ _normalised(self.sums).T
        return cosines.masked_fill(self.counts == 0, -torch.inf)


@dataclass(frozen=True)
class RidgeSolution:
    """Scores are `features @ weights + bias`; `penalty` is the lambda that was chosen."""

    weights: Tensor
    bias: Tensor
    penalty: float


def solve_ridge(gram: Tensor, sums: Tensor, counts: Tensor) -> RidgeSolution:
    """Solve ridge regression on one-hot targets, with its penalty, from sums over the images.

    Features and targets are centred with the mean over the images seen, so the bias carries no
    penalty. The penalty is the one of the grid trace(G) / D * 10^(-6 ... 3), four a decade, that
    minimises generalised cross-validation (Golub, Heath and Wahba, Technometrics 1979),
    `N * RSS / (N - degrees of freedom)^2`: an estimate of the leave-one-out error that needs
    these sums only, hence no image kept and no image held out.

    Penalties that leave the residual less than a fifth of the N degrees of freedom are out of the
    choice, because there the estimate may fail. It takes all images to weigh alike, and one that
    occurs twice does not: with fewer images than features and hardly a penalty the residual is 0
    and a degree of freedom is left, so that interpolation looks perfect.

    Args:
        gram: sum of x x^T over the images, float64 [D, D].
        sums: sum of x over each class's images, float64 [C, D].
        counts: images of each class, float64 [C].
    """
    images = counts.sum()
    mean = sums.sum(0) / images
    centred_gram = gram - images * torch.outer(mean, mean)
    cross = sums.T - torch.outer(mean, counts)
    target_energy = images - (counts**2).sum() / images

    variances, axes = torch.linalg.eigh(centred_gram)
    variances = variances.clamp(min=0)
    rotated = axes.T @ cross
    energy = (rotated**2).sum(1)

    scale = variances.mean()
    penalties = _RELATIVE_PENALTIES * (scale if scale > 0 else 1.0)
    shrunk = variances + penalties[:, None]  # [penalty, D]
    residual = target_energy - (energy * (variances + 2 * penalties[:, None]) / shrunk**2).sum(1)
    freedom = 1 + (variances / shrunk).sum(1)
    estimate = images * residual / (images - freedom) ** 2
    best = estimate.where(freedom <= _MOST_FREEDOM * images, torch.inf).argmin()

    weights = axes @ (rotated / shrunk[best][:, None])
    return RidgeSolution(weights, counts / images - mean @ weights, penalties[best].item())


class Ridge:
    """Ridge regression from features to one-hot classes, streamed; see `solve_ridge`."""

    def __init__(self, feature_size: int, num_classes: int) -> None:
        self.gram = torch.zeros(feature_size, feature_size, dtype=torch.float64)
        self.sums = torch.zeros(num_classes, feature_size, dtype=torch.float64)
        self.counts = torch.zeros(num_classes, dtype=torch.float64)
        self._solution: RidgeSolution | None = None

    def fit_task(self, features: Tensor, labels: Tensor) -> None:
        features = _checked_features(features, self.gram.shape[1])
        _check_labels(labels, len(features), len(self.counts))
        self.gram += features.T @ features
        self.sums.index_add_(0, labels, features)
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self._solution = None

    def solution(self) -> RidgeSolution:
        """Return the weights [D, num_classes] and bias [num_classes] for all images so far."""
        _check_learnt(self.counts)
        if self._solution is None:
            self._solution = solve_ridge(self.gram, self.sums, self.counts)
        return self._solution

    def scores(self, features: Tensor) -> Tensor:
        solution = self.solution()
        features = _checked_features(features, self.gram.shape[1])
        scores = features @ solution.weights + solution.bias
        return scores.masked_fill(self.counts == 0, -torch.inf)


class RanPAC:
    """Ridge on relu(features @ P) for a fixed random P (McDonnell et al., arXiv:2307.02251).

    P is [D, projection_size], standard normal, drawn from `seed`. The ridge is that of this
    module (centred, penalty by generalised cross-validation over all tasks so far), where the
    paper's code does not centre and chooses the penalty on a split of the current task.
    """

    def __init__(
        self, feature_size: int, num_classes: int, projection_size: int = 2000, seed: int = 0
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.projection = torch.randn(
            feature_size, projection_size, generator=generator, dtype=torch.float64
        )
        self.ridge = Ridge(projection_size, num_classes)

    def fit_task(self, features: Tensor, labels: Tensor) -> None:
        self.ridge.fit_task(self._projected(features), labels)

    def scores(self, features: Tensor) -> Tensor:
        return self.ridge.scores(self._projected(features))

    def _projected(self, features: Tensor) -> Tensor:
        return (_checked_features(features, len(self.projection)) @ self.projection).relu()


class LinearProbe:
    """Multinomial logistic regression on all images so far at once: the upper bound.

    NOT incremental: it keeps the features of every task and is trained anew from all of them.
    Features are standardised; C is the best of 0.003, 0.01, 0.03, 0.1 on every fifth training image
    of each class, and the final fit takes all images. Scores are log-probabilities.
    """

    def __init__(self, feature_size: int, num_classes: int) -> None:
        self._features = torch.zeros(0, feature_size, dtype=torch.float64)
        self._labels = torch.zeros(0, dtype=torch.int64)
        self._num_classes = num_classes
        self._model: Pipeline | None = None

    def fit_task(self, features: Tensor, labels: Tensor) -> None:
        features = _checked_features(features, self._features.shape[1])
        _check_labels(labels, len(features), self._num_classes)
        self._features = torch.cat([self._features, features])
        self._labels = torch.cat([self._labels, labels])
        self._model = None

    def scores(self, features: Tensor) -> Tensor:
        seen = torch.unique(self._labels)
        _check_learnt(torch.bincount(self._labels))
        features = _checked_features(features, self._features.shape[1])
        scores = torch.full((len(features), self._num_classes), -torch.inf, dtype=torch.float64)
        if len(seen) == 1:  # the only class is certain
            scores[:, seen] = 0.0
            return scores
        if self._model is None:
            self._model = _fit_probe(self._features.numpy(), self._labels.numpy())
        scores[:, seen] = torch.from_numpy(self._model.predict_log_proba(features.numpy()))
        return scores


def _fit_probe(features: Array, labels: Array) -> Pipeline:
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        held_out[own[_PROBE_VALIDATION - 1 :: _PROBE_VALIDATION]] = True
    penalty = _PROBE_PENALTIES[-1]
    if held_out.any():
        accuracies = [
            _probe(penalty)
            .fit(features[~held_out], labels[~held_out])
            .score(features[held_out], labels[held_out])
            for penalty in _PROBE_PENALTIES
        ]
        penalty = _PROBE_PENALTIES[int(np.argmax(accuracies))]
    return _probe(penalty).fit(features, labels)


def _probe(penalty: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=penalty, tol=1e-3, max_iter=2000))


def _normalised(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, dim=1)


def _checked_features(features: Tensor, size: int) -> Tensor:
    if features.ndim != 2 or features.shape[1] != size:
        raise InputError(f"features have shape {list(features.shape)}; they must be [N, {size}]")
    if not features.isfinite().all():
        raise InputError("features hold NaN or infinity; they must be finite")
    return features.double()


def _check_labels(labels: Tensor, images: int, num_classes: int) -> None:
    if labels.shape != (images,) or labels.dtype != torch.int64:
        raise InputError(
            f"labels are {labels.dtype} {list(labels.shape)}; they must be torch.int64 [{images}]"
        )
    if images and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()}; "
            f"they must be in 0 to {num_classes - 1}"
        )


def _check_learnt(counts: Tensor) -> None:
    if not counts.any():
        raise InputError("no task has been learnt yet; call fit_task before scores")
