"""The digits against scikit-learn's own arrays."""

import numpy as np
import pytest

from cbpnet.data.digits import load_digits

datasets = pytest.importorskip("sklearn.datasets")


def _hashable(pixels: np.ndarray) -> list[tuple[int, ...]]:
    return sorted(tuple(image.ravel()) for image in pixels)


def test_every_digit_is_in_one_of_the_two_parts() -> None:
    original = datasets.load_digits()
    digits = load_digits()
    for label in range(10):
        train = digits.train.pixels[digits.train.labels == label]
        test = digits.test.pixels[digits.test.labels == label]
        both = np.concatenate([train, test])
        expected = np.rint(original.images[original.target == label] * 255 / 16)
        assert _hashable(both) == _hashable(expected)
        assert len(test) == round(len(both) / 5)


def test_the_brightest_pixel_is_white_and_the_image_rgb() -> None:
    digits = load_digits()
    assert (digits.train.pixels.min(), digits.train.pixels.max()) == (0, 255)
    image = digits.train.image(0)
    assert (image.mode, image.size) == ("RGB", (8, 8))


def test_the_split_is_always_the_same() -> None:
    first, second = load_digits(), load_digits()
    np.testing.assert_array_equal(first.test.pixels, second.test.pixels)
    assert first.class_names == tuple("0123456789")
    assert first.classes_per_task == 2
