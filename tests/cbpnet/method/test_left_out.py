"""What is known without an image, against counting all others."""

import numpy as np
import pytest
import torch

from cbpnet.method.left_out import leave_out, left_out_scores
from cbpnet.method.prompts import one_hot
from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.unknown import left_out_unknown
from cbpnet.method.whitening import whiten

from .plain_statistics import CLASSES, drawn, ridge_of, scores_of, statistics, unknown_of

COUNTS = [(7, 2, 4, 0, 3), (4, 4, 4, 4, 4), (12, 0, 2, 0, 0), (2, 2, 3, 9, 2)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("prior", [0.1, 10.0])
def test_leaving_an_image_out_is_to_count_all_others(counts, prior):
    """Ridge and degrees of freedom stay what they are with all images."""
    x, labels = drawn(counts)
    count, mean, scatter = statistics(x, labels)
    given = ClassStatistics(*map(torch.from_numpy, (count, mean, scatter)))
    metric = whiten(given, torch.tensor([prior], dtype=torch.float64))
    targets = one_hot(labels, CLASSES).double()
    left = leave_out(metric, given.count, given.mean, x, targets, torch.ones(len(x)))
    scores = left_out_scores(left, given.count.sum()).numpy()
    unknown = left_out_unknown(left, given.count).numpy()
    ridge, known = ridge_of(count, scatter, prior), count > 0
    free = len(x) - np.count_nonzero(count)
    for number in range(len(x)):
        others = torch.arange(len(x)) != number
        rest, image = statistics(x[others], labels[others]), x[number].numpy()
        expected = scores_of(*rest, ridge, image) * np.sqrt(len(x) / (len(x) - 1))
        np.testing.assert_allclose(scores[number][known], expected[known], rtol=1e-8)
        assert unknown[number] == pytest.approx(unknown_of(*rest, ridge, image, free), rel=1e-8)


def test_images_of_one_class_are_judged_without_themselves():
    x, labels = drawn((5, 0, 0, 0, 0))
    count, mean, scatter = statistics(x, labels)
    given = ClassStatistics(*map(torch.from_numpy, (count, mean, scatter)))
    metric = whiten(given, torch.ones(1).double())
    targets = one_hot(labels, CLASSES).double()
    left = leave_out(metric, given.count, given.mean, x, targets, torch.ones(5))
    unknown = left_out_unknown(left, given.count)
    for number in range(5):
        others = torch.arange(5) != number
        rest, ridge = statistics(x[others], labels[others]), ridge_of(count, scatter, 1.0)
        expected = unknown_of(*rest, ridge, x[number].numpy(), 4)
        assert unknown[number].item() == pytest.approx(expected)


def test_an_image_that_was_counted_several_times_goes_with_all_of_them():
    x, labels = drawn((14, 5, 9, 0, 6))
    x[10], x[11] = x[3], x[3]
    count, mean, scatter = statistics(x, labels)
    given = ClassStatistics(*map(torch.from_numpy, (count, mean, scatter)))
    metric = whiten(given, torch.ones(1).double())
    targets = one_hot(labels[3:4], CLASSES).double()
    left = leave_out(metric, given.count, given.mean, x[3:4], targets, torch.tensor([3.0]))
    others = ~torch.isin(torch.arange(len(x)), torch.tensor([3, 10, 11]))
    rest, image = statistics(x[others], labels[others]), x[3].numpy()
    ridge, known = ridge_of(count, scatter, 1.0), count > 0
    expected = scores_of(*rest, ridge, image) * np.sqrt(len(x) / (len(x) - 3))
    scores = left_out_scores(left, given.count.sum()).numpy()
    np.testing.assert_allclose(scores[0][known], expected[known], rtol=1e-8)
    unknown = unknown_of(*rest, ridge, image, len(x) - 4)
    assert left_out_unknown(left, given.count).item() == pytest.approx(unknown)


def test_scores_stay_finite_where_more_copies_are_said_than_there_can_be():
    x, labels = drawn()
    given = ClassStatistics(*map(torch.from_numpy, statistics(x, labels)))
    metric = whiten(given, torch.ones(1).double())
    targets = one_hot(labels, CLASSES).double()
    hundred = torch.full((len(x),), 100.0)
    many = leave_out(metric, given.count, given.mean, x, targets, hundred)
    scores = left_out_scores(many, given.count.sum())[:, given.count > 0]
    assert scores.isfinite().all()
    assert scores.abs().max() < 100
    assert left_out_unknown(many, given.count).isfinite().all()
    assert many.counts[:, given.count > 0].min() >= 1
    assert many.trace.min() >= 0
