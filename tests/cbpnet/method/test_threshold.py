"""Where the scores of known images end."""

import math

import numpy as np
import pytest

from cbpnet.method.threshold import unknown_threshold


@pytest.mark.parametrize("count", [3, 5, 20, 400])
def test_about_92_of_100_known_images_to_come_are_below(count):
    generator = np.random.default_rng(0)
    scores = generator.normal(40, 7, (4000, count + 1))
    below = [
        row[-1] <= unknown_threshold(count, row[:-1].sum(), (row[:-1] ** 2).sum()) for row in scores
    ]
    assert np.mean(below) == pytest.approx(0.919, abs=0.025)


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_scores_nothing_is_unknown(count):
    assert unknown_threshold(count, 7.0 * count, 49.0 * count) == math.inf


def test_equal_scores_are_where_they_end():
    assert unknown_threshold(4, 12.0, 36.0) == pytest.approx(3)
