import itertools

import torch

from cbpnet.host.random_streams import RandomStream


def draw(seed, purpose):
    return torch.rand(4, generator=RandomStream(seed, purpose))


def test_a_stream_repeats():
    assert torch.equal(draw(3, 1), draw(3, 1))


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
