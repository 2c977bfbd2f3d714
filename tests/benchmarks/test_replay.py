"""The figures of answers against ones worked out by hand and by brute force."""

import numpy as np
import pytest

from benchmarks.replay import area_under_roc, calibration_error


def test_calibration_error_weighs_each_bin_s_gap_by_its_images():
    # Two answers of 0.95, one right: a gap of 0.45; two of 0.55, both right: another of 0.45.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.55, 0.45]])
    assert calibration_error(probabilities, np.array([0, 1, 0, 0])) == pytest.approx(0.45)


def test_an_answer_that_is_certain_is_in_the_last_bin():
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(1.0)


def test_area_under_roc_is_the_share_of_pairs_in_order():
    known, others = np.array([0.1, 0.4, 0.5]), np.array([0.4, 0.9])
    pairs = [float(b > a) + 0.5 * float(b == a) for a in known for b in others]
    assert area_under_roc(known, others) == pytest.approx(sum(pairs) / len(pairs))
