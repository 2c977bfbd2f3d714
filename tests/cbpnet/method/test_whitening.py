"""The whitened readout against its formula."""

import numpy as np
import pytest
import torch

from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.whitening import identity, whiten, whitened_head

from .plain_statistics import SIZE, drawn, ridge_of, scores_of, statistics


def known_of(counts):
    x, labels = drawn(counts)
    return ClassStatistics(*map(torch.from_numpy, statistics(x, labels)))


@pytest.mark.parametrize("counts", [(7, 2, 4, 0, 3), (4, 4, 0, 4, 4), (9, 0, 1, 0, 0)])
@pytest.mark.parametrize("prior", [0.1, 10.0])
def test_the_head_gives_the_scores_of_the_formula(counts, prior):
    found = known_of(counts)
    metric = whiten(found, torch.tensor([prior], dtype=torch.float64))
    weight, bias = whitened_head(metric, found.count, found.mean)
    count, mean, scatter = (value.numpy() for value in vars(found).values())
    known = count > 0
    for image in torch.randn(4, SIZE, dtype=torch.float64):
        scores = (weight @ image + bias).numpy()
        ridge = ridge_of(count, scatter, prior)
        expected = scores_of(count, mean, scatter, ridge, image.numpy())
        np.testing.assert_allclose(scores[known], expected[known])
    assert not weight[torch.from_numpy(~known)].any()
    assert not bias[torch.from_numpy(~known)].any()


def test_classes_of_as_many_images_have_the_plain_cosine():
    """From the mean of the images, which is that of the means."""
    x, labels = drawn((4, 4, 0, 4, 4))
    count, mean, scatter = statistics(x, labels)
    known = ClassStatistics(*map(torch.from_numpy, (count, mean, scatter)))
    weight, bias = whitened_head(whiten(known, torch.ones(1).double()), known.count, known.mean)
    inverse = np.linalg.inv(scatter + ridge_of(count, scatter, 1.0) * np.eye(SIZE))
    middle, image = x.numpy().mean(0), x[3].numpy() + 0.5
    for label in np.flatnonzero(count):
        away = mean[label] - middle
        cosine = (image - middle) @ inverse @ away / np.sqrt(away @ inverse @ away)
        score = (weight[label] @ torch.from_numpy(image) + bias[label]).item()
        assert score == pytest.approx(4 * cosine)


def test_a_single_class_scores_nothing_and_not_nan():
    known = known_of((3, 0, 0, 0, 0))
    metric = whiten(known, torch.ones(1).double())
    weight, bias = whitened_head(metric, known.count, known.mean)
    assert weight.abs().max() < 1e-6
    assert bias.abs().max() < 1e-6


def test_the_identity_is_one():
    assert identity(4, torch.zeros(1)).equal(torch.eye(4))


def test_single_pictures_have_no_scatter_and_the_plain_metric():
    known = known_of((1, 1, 1, 0, 0))
    assert whiten(known, torch.ones(1).double()).inverse.equal(torch.eye(SIZE).double())
