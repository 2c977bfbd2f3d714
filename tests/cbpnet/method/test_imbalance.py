"""Classes of few images beside those of many, against what was drawn."""

import pytest
import torch

from cbpnet.method.imbalance import evened
from cbpnet.method.prompts import one_hot
from cbpnet.method.statistics import ClassStatistics
from cbpnet.method.whitening import directions, whiten, whitened_head

SIZE = 30


def images(classes, each, seed=0, apart=1.0):
    """Images of normal classes whose means are ``apart`` in each of many dimensions."""
    centres = torch.Generator().manual_seed(1)
    noise = torch.Generator().manual_seed(seed)
    means = apart * torch.randn(classes, SIZE, generator=centres, dtype=torch.float64)
    labels = torch.arange(classes).repeat_interleave(torch.tensor(each))
    drawn = torch.randn(len(labels), SIZE, generator=noise, dtype=torch.float64)
    return means[labels] + drawn, labels


def counted(x, labels, classes):
    empty = ClassStatistics(
        *(torch.zeros(shape).double() for shape in ((classes,), (classes, SIZE), (SIZE, SIZE)))
    )
    return empty.with_images(x, one_hot(labels, classes).double())


def recalls(classes, each, seed):
    known = counted(*images(classes, each, seed), classes)
    weight, bias = whitened_head(whiten(known, torch.ones(1).double()), known.count, known.mean)
    shown, labels = images(classes, [100] * classes, seed + 1000)
    right = (shown @ weight.T + bias).argmax(dim=1) == labels
    return [right[labels == label].double().mean().item() for label in range(classes)]


@pytest.mark.parametrize("classes", [2, 5])
def test_a_class_of_one_image_is_found_beside_classes_of_thirty(classes):
    few, many = (
        [recalls(classes, [first] + [30] * (classes - 1), seed) for seed in range(12)]
        for first in (1, 30)
    )
    rare, even = (sum(row[0] for row in rows) / len(rows) for rows in (few, many))
    assert rare > 0.75 * even
    common, before = (sum(sum(row[1:]) for row in rows) for rows in (few, many))
    assert common > 0.8 * before


def test_images_of_a_class_have_the_centres_noise_given_back():
    """On average over draws, projections are those on the true mean about the true centre."""
    classes, each = 3, [1, 20, 20]
    true, _ = images(classes, [1] * classes)
    means = true - images(classes, [1] * classes, apart=0.0)[0]
    found, expected, unshifted = [], [], []
    for seed in range(60):
        known = counted(*images(classes, each, seed), classes)
        metric = whiten(known, 10 * torch.ones(1).double())
        away = directions(known.count, known.mean)
        squared = (metric.projected * away).sum(dim=1)
        shift, _ = evened(squared, known.count, metric.trace)
        centre, noise = known.mean.mean(dim=0), torch.randn(SIZE, dtype=torch.float64)
        right = means - means.mean(dim=0)
        towards = (means[1] + noise - centre) @ metric.projected[0]
        found.append((towards + shift[0]).item())
        unshifted.append(towards.item())
        expected.append(((right[1]) @ metric.inverse @ right[0]).item())
    found, unshifted, expected = (sum(each) / len(each) for each in (found, unshifted, expected))
    assert abs(found - expected) < 0.5 * abs(unshifted - expected)


def test_nothing_is_owed_where_all_have_as_many_or_there_are_no_images():
    squared = torch.tensor([[4.0, 9.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    count = torch.tensor([[5.0, 5.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    for owed in evened(squared, count, torch.tensor([[2.0], [1.0], [0.0]])):
        assert owed.abs().max() < 1e-6


def test_a_mean_that_is_no_longer_than_others_is_owed_no_cosine():
    """As of a class that was moved with many images' mean and counts as one."""
    count = torch.tensor([1.0, 30.0, 30.0])
    _, bonus = evened(torch.tensor([4.0, 4.0, 4.0]), count, torch.tensor([20.0]))
    assert bonus.abs().max() < 1e-6
    _, bonus = evened(torch.tensor([9.0, 4.0, 4.0]), count, torch.tensor([20.0]))
    assert bonus[0] > 0
    assert bonus[1:].abs().max() < 1e-6
