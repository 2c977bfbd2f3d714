"""Draws that depend on the seed and their purpose alone."""

import numpy as np
import pytest

from cbpnet.data.sampling import generator, split_class
from cbpnet.host.errors import InputError


def test_a_generator_is_decided_by_seed_and_purpose() -> None:
    def draw(seed: int, *purpose: str) -> list[int]:
        return generator(seed, *purpose).integers(0, 2**31, 4).tolist()

    assert draw(1, "train", "cat") == draw(1, "train", "cat")
    draws = [draw(1, "train", "cat"), draw(2, "train", "cat"), draw(1, "test", "cat")]
    draws += [draw(1, "train", "dog"), draw(1, "train cat"), draw(1, "traincat")]
    assert len({tuple(numbers) for numbers in draws}) == len(draws)


def test_numpys_global_generator_plays_no_part() -> None:
    before = np.random.get_state()[1].tolist()
    generator(0, "train").permutation(10)
    assert np.random.get_state()[1].tolist() == before


def test_a_negative_seed_is_named() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        generator(-1, "train")


@pytest.mark.parametrize(
    ("count", "fraction", "tests"),
    [(0, 0.2, 0), (1, 0.9, 0), (2, 0.01, 1), (2, 0.99, 1), (3, 0.2, 1), (10, 0.2, 2), (13, 0.5, 6)],
)
def test_split_sizes(count: int, fraction: float, tests: int) -> None:
    train, test = split_class(count, fraction, 0, "cat")
    assert len(test) == tests
    assert sorted([*train, *test]) == list(range(count))
    assert train.tolist() == sorted(train)
    assert test.tolist() == sorted(test)


def test_a_split_is_drawn_by_seed_and_class() -> None:
    tests = [
        split_class(40, 0.5, seed, name)[1].tolist()
        for seed, name in [(0, "cat"), (0, "cat"), (1, "cat"), (0, "dog")]
    ]
    assert tests[0] == tests[1]
    assert tests[0] != tests[2]
    assert tests[0] != tests[3]


@pytest.mark.parametrize("fraction", [-0.1, 0.0, 1.0, 2.0])
def test_a_fraction_out_of_range_is_named(fraction: float) -> None:
    with pytest.raises(InputError, match=f"test_fraction is {fraction}"):
        split_class(10, fraction, 0, "cat")
