"""Streamed statistics against those of all images at once, in float64."""

import pytest
import torch

from cbpnet.method.prompts import one_hot
from cbpnet.method.statistics import ClassStatistics, centre

CLASSES, SIZE = 5, 7


def empty(dtype=torch.float64):
    shapes = (CLASSES,), (CLASSES, SIZE), (SIZE, SIZE)
    return ClassStatistics(*(torch.zeros(shape, dtype=dtype) for shape in shapes))


def batch(x, labels):
    """The statistics by their definition, image after image."""
    count, mean = torch.zeros(CLASSES), torch.zeros(CLASSES, SIZE, dtype=torch.float64)
    scatter = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    for label in labels.unique():
        own = x[labels == label].double()
        count[label], mean[label] = len(own), own.mean(0)
        for row in own:
            scatter += torch.outer(row - own.mean(0), row - own.mean(0))
    return ClassStatistics(count.double(), mean, scatter)


def streamed(x, labels, sizes, dtype=torch.float64):
    known = empty(dtype)
    for few, classes in zip(x.to(dtype).split(sizes), labels.split(sizes), strict=True):
        known = known.with_images(few, one_hot(classes, CLASSES).to(dtype))
    return known


def drawn(images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 3 + torch.randn(images, SIZE, generator=generator)
    return x, torch.randint(0, CLASSES - 1, (images,), generator=generator)


@pytest.mark.parametrize("sizes", [1, 4, 40, 100])
def test_whatever_the_portions_they_are_those_of_all_images_at_once(sizes):
    x, labels = drawn(100)
    found, expected = streamed(x, labels, sizes), batch(x, labels)
    for name, value in vars(expected).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-10, atol=1e-10)


def test_padding_changes_nothing():
    x, labels = drawn(10)
    padded = torch.cat([labels[:6], torch.full((4,), -1)])
    torch.testing.assert_close(
        streamed(x, padded, 10).scatter, batch(x[:6], labels[:6]).scatter, rtol=1e-10, atol=1e-10
    )


def test_fifty_thousand_images_in_fp32_stay_at_their_float64_values():
    x, labels = drawn(50_000)
    found, expected = streamed(x, labels, 10, torch.float32), batch(x, labels)
    off = (found.scatter - expected.scatter).norm() / expected.scatter.norm()
    assert off < 1e-3
    torch.testing.assert_close(found.mean.double(), expected.mean, rtol=1e-4, atol=1e-4)


def test_the_centre_is_the_mean_over_images():
    x, labels = drawn(30)
    known = batch(x, labels)
    torch.testing.assert_close(centre(known.count, known.mean), x.double().mean(0))
