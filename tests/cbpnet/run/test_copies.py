"""Pictures that are nearly alike."""

import numpy as np
import pytest

from cbpnet.run.copies import count_copies

SIZE = 400


def drawn(images, seed=0):
    x = np.random.default_rng(seed).normal(size=(images, SIZE)).astype(np.float32)
    return x, np.zeros(images, np.int64)


def counted(x, labels):
    mean = np.stack([x[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    return count_copies(x, labels, mean, np.eye(SIZE, dtype=np.float32))


def test_independent_pictures_have_no_copies():
    assert counted(*drawn(60)) == pytest.approx(1)


def test_a_picture_that_was_counted_three_times_is_thrice_there():
    x, labels = drawn(60)
    x[7], x[30] = x[2], x[2]
    expected = np.ones(60)
    expected[[2, 7, 30]] = 3
    np.testing.assert_allclose(counted(x, labels), expected, rtol=1e-6)


def test_pictures_of_one_burst_count_what_they_share():
    x, labels = drawn(60)
    shared = x[0].copy()
    x[:5] = np.sqrt(0.8) * shared + np.sqrt(0.2) * drawn(5, seed=1)[0]
    copies = counted(x, labels)
    assert copies[:5] == pytest.approx(1 + 4 * 0.8, abs=0.4)
    assert copies[5:] == pytest.approx(1)


def test_pictures_of_other_classes_are_no_copies():
    x, labels = drawn(60)
    x[40], labels[30:] = x[3], 1
    assert counted(x, labels) == pytest.approx(1)
