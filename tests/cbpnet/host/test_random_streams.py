import hashlib
import itertools

import numpy as np
import pytest

from cbpnet.host.random_streams import RandomStream


def draw(seed, purpose):
    return RandomStream(seed, purpose).uniform(4)


def test_a_stream_repeats():
    np.testing.assert_array_equal(draw(3, 1), draw(3, 1))


def test_seeds_and_purposes_have_streams_of_their_own():
    pairs = [
        *itertools.product(range(6), range(6)),
        (11, 1),
        (1, 11),
        (0, 1 << 32),
        (1 << 32, 0),
        (1 << 40, 5),
    ]
    assert len({tuple(draw(*pair).tolist()) for pair in pairs}) == len(pairs)


def test_uniform_numbers_and_orders_are_those_of_torch():
    torch = pytest.importorskip("torch")
    stream = RandomStream(3, -1)
    seed = int.from_bytes(hashlib.sha256(b"3 -1").digest()[:4], "big")
    generator = torch.Generator().manual_seed(seed)
    for shape in ((1000,), (3, 5, 7), (), (0, 4)):
        found = stream.uniform(*shape)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, torch.rand(shape, generator=generator), strict=True)
    for count in (0, 1, 2, 1000):
        found = stream.permutation(count)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, torch.randperm(count, generator=generator))


def test_normal_numbers_have_the_moments_of_the_standard_normal():
    found = RandomStream(3, 1).normal(200, 500)
    assert (found.shape, found.dtype) == ((200, 500), np.float32)
    # Four standard errors of each moment's estimate from 100,000 numbers.
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = 4 * np.sqrt(variance / found.size)
        assert (found.astype(np.float64) ** power).mean() == pytest.approx(moment, abs=error)
