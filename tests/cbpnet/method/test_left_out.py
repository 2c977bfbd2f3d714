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
    """The ridge and the weight of the classes' spread stay what they are with all images."""
    x, labels = drawn(counts)
    count, mean, scatter = statistics(x, labels)
    given = ClassStatistics(*map(torch.from_numpy, (count, mean, scatter)))
    metric = whiten(given, torch.tensor([prior], dtype=torch.float64))
    targets = one_hot(labels, CLASSES).double()
    left = leave_out(metric, given.count, given.mean, x, targets)
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
    left = leave_out(metric, given.count, given.mean, x, one_hot(labels, CLASSES).double())
    unknown = left_out_unknown(left, given.count)
    for number in range(5):
        others = torch.arange(5) != number
        rest, ridge = statistics(x[others], labels[others]), ridge_of(count, scatter, 1.0)
        expected = unknown_of(*rest, ridge, x[number].numpy(), 4)
        assert unknown[number].item() == pytest.approx(expected)
