"""The whitened readout against its formula, and leaving one out against doing so."""

import numpy as np
import pytest
import torch

from cbpnet.method.prompts import one_hot
from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.whitening import Whitening, identity, left_out_scores, whiten, whitened_head

CLASSES, SIZE = 5, 6


def drawn(counts=(7, 2, 4, 0, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    centres = torch.randn(CLASSES, SIZE, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), SIZE, generator=generator, dtype=torch.float64)
    return centres[labels] + 0.7 * noise + 2, labels


def statistics(x, labels):
    """Counts, means and pooled scatter in plain numpy."""
    count, mean = np.zeros(CLASSES), np.zeros((CLASSES, SIZE))
    scatter = np.zeros((SIZE, SIZE))
    for label in range(CLASSES):
        own = x[labels == label].numpy()
        if len(own):
            count[label], mean[label] = len(own), own.mean(0)
            scatter += (own - own.mean(0)).T @ (own - own.mean(0))
    return count, mean, scatter


def formula(x, labels, prior, image):
    """The score of each known class for one image, by the definition."""
    count, mean, scatter = statistics(x, labels)
    known = np.count_nonzero(count)
    weight = prior * np.trace(scatter) / (count.sum() - known)
    inverse = np.linalg.inv(scatter + weight * np.eye(SIZE))
    middle, image = x.numpy().mean(0), image.numpy()
    scores = np.full(CLASSES, np.nan)
    for label in np.flatnonzero(count):
        away = mean[label] - middle
        scores[label] = (image - middle) @ inverse @ away / np.sqrt(away @ inverse @ away)
        scores[label] *= np.sqrt(count.sum())
    return scores


@pytest.mark.parametrize("prior", [0.1, 10.0])
def test_the_head_gives_the_scores_of_the_formula(prior):
    x, labels = drawn()
    found = ClassStatistics(*map(torch.from_numpy, statistics(x, labels)))
    metric = whiten(found, torch.tensor([prior], dtype=torch.float64))
    weight, bias = whitened_head(metric, found.count, found.mean)
    known = (found.count > 0).numpy()
    for image in torch.randn(4, SIZE, dtype=torch.float64):
        scores = (weight @ image + bias).numpy()
        np.testing.assert_allclose(scores[known], formula(x, labels, prior, image)[known])
    assert not weight[3].any()
    assert bias[3] == 0


@pytest.mark.parametrize("weight", [0.1, 10.0])
def test_leaving_an_image_out_is_to_count_all_others(weight):
    """The prior's own weight stays what it is with all images."""
    x, labels = drawn()
    count, mean, scatter = statistics(x, labels)
    targets = one_hot(labels, CLASSES).double()
    inverse = np.linalg.inv(scatter + weight * np.eye(SIZE))
    away = (mean - x.numpy().mean(0)) * (count > 0)[:, None]
    metric = Whitening(torch.from_numpy(inverse), torch.from_numpy(away @ inverse))
    found = left_out_scores(metric, *map(torch.from_numpy, (count, mean)), x, targets).numpy()
    for number in range(len(x)):
        others = torch.arange(len(x)) != number
        _, _, left = statistics(x[others], labels[others])
        prior = weight / np.trace(left) * (len(x) - 1 - 4)
        expected = formula(x[others], labels[others], prior, x[number])
        expected *= np.sqrt(len(x) / (len(x) - 1))
        known = ~np.isnan(expected)
        np.testing.assert_allclose(found[number][known], expected[known], rtol=1e-8)


def test_a_single_class_scores_nothing_and_not_nan():
    x, labels = drawn((3, 0, 0, 0, 0))
    known = ClassStatistics(*map(torch.from_numpy, statistics(x, labels)))
    metric = whiten(known, torch.ones(1).double())
    weight, bias = whitened_head(metric, known.count, known.mean)
    assert weight.abs().max() < 1e-6
    assert bias.abs().max() < 1e-6


def test_the_identity_is_one():
    assert identity(4, torch.zeros(1)).equal(torch.eye(4))


def test_single_pictures_have_no_scatter_and_the_plain_metric():
    x, labels = drawn((1, 1, 1, 0, 0))
    known = ClassStatistics(*map(torch.from_numpy, statistics(x, labels)))
    assert whiten(known, torch.ones(1).double()).inverse.equal(torch.eye(SIZE).double())
