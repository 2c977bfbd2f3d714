"""Unknown scores against their definition."""

import pytest
import torch

from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.unknown import unknown_head, unknown_scores
from cbpnet.method.whitening import whiten, whitened_head

from .plain_statistics import SIZE, drawn, ridge_of, statistics, unknown_of


@pytest.mark.parametrize(
    "counts", [(7, 2, 4, 0, 3), (4, 4, 4, 4, 4), (6, 0, 0, 0, 0), (5, 1, 0, 0, 0)]
)
@pytest.mark.parametrize(("prior", "scale"), [(0.1, 0.5), (10.0, 2.0)])
def test_unknown_scores_are_those_of_the_definition(counts, prior, scale):
    count, mean, scatter = statistics(*drawn(counts))
    known = ClassStatistics(*map(torch.from_numpy, (count, mean, scatter)))
    metric = whiten(known, torch.tensor([prior], dtype=torch.float64))
    weight = scale * whitened_head(metric, known.count, known.mean)[0]
    given = known.count, known.mean
    head = unknown_head(metric, *given, weight, torch.tensor([scale], dtype=torch.float64))
    x = 2 + torch.randn(8, SIZE, dtype=torch.float64)
    found = unknown_scores(head, known.count, x, x @ weight.T)
    ridge = ridge_of(count, scatter, prior)
    for image, score in zip(x.numpy(), found.tolist(), strict=True):
        assert score == pytest.approx(unknown_of(count, mean, scatter, ridge, image), rel=1e-6)


def test_what_is_far_from_a_single_class_has_a_higher_score_than_its_images():
    x, labels = drawn((6, 0, 0, 0, 0))
    known = ClassStatistics(*map(torch.from_numpy, statistics(x, labels)))
    metric, one = whiten(known, torch.ones(1).double()), torch.ones(1).double()
    weight, _ = whitened_head(metric, known.count, known.mean)
    head = unknown_head(metric, known.count, known.mean, weight, one)
    near, far = (
        unknown_scores(head, known.count, some, some @ weight.T)
        for some in (x, x + 5 * torch.randn(6, SIZE, dtype=torch.float64))
    )
    assert near.max() < far.min()
