"""Distances against sums over single numbers."""

import math

import pytest
import torch

from quantize.distance import flat_cosine, mean_cosine, sqnr_db


def test_sqnr_is_ten_times_the_logarithm_of_the_ratio_of_squares() -> None:
    exact, rounded = torch.randn(4, 3), torch.randn(4, 3)
    signal = noise = 0.0
    for x, y in zip(exact.flatten().tolist(), rounded.flatten().tolist(), strict=True):
        signal, noise = signal + x * x, noise + (x - y) ** 2
    assert sqnr_db(exact, rounded) == pytest.approx(10 * math.log10(signal / noise), rel=1e-6)
    assert sqnr_db(exact, 1.1 * exact) == pytest.approx(20, abs=1e-4)


def test_sqnr_of_equal_tensors_and_of_zeros() -> None:
    x = torch.randn(4)
    assert sqnr_db(x, x) == math.inf
    assert sqnr_db(torch.zeros(4), x) == -math.inf


def test_the_mean_cosine_is_the_mean_over_rows() -> None:
    exact = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]])
    rounded = torch.tensor([[5.0, 0.0], [4.0, 3.0], [0.0, -1.0]])
    assert mean_cosine(exact, rounded) == pytest.approx((1 + 24 / 25 - 1) / 3)


def test_the_flat_cosine_is_of_the_whole_tensor() -> None:
    exact, rounded = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, -1.0]])
    assert flat_cosine(exact, exact * 3) == pytest.approx(1)
    assert flat_cosine(exact, rounded) == pytest.approx(0)
    assert flat_cosine(exact, torch.tensor([[1.0, 0.0]])) == pytest.approx(1 / math.sqrt(5))


def test_the_flat_cosine_of_small_gradients_and_of_zeros() -> None:
    x = torch.randn(3, 4)
    assert flat_cosine(1e-30 * x, 1e-32 * x) == pytest.approx(1)
    assert flat_cosine(0 * x, 0 * x) == 1
    assert flat_cosine(x, 0 * x) == 0
