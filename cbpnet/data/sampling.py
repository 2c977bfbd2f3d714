"""Seeded random draws in which no class depends on another."""

import numpy as np
import numpy.typing as npt

from cbpnet.host.errors import InputError

__all__ = ["Indices", "generator", "split_class"]

Indices = npt.NDArray[np.int64]


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """The random generator of one purpose, such as ("train", class name), under a seed.

    Raises InputError for a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}; right would be 0 or more")
    return np.random.default_rng([seed, *"\0".join(purpose).encode(errors="surrogateescape")])


def split_class(
    count: int, test_fraction: float, seed: int, class_name: str
) -> tuple[Indices, Indices]:
    """Divide the `count` images of a class into training and test: ascending indices below it.

    round(count * test_fraction) are for test, at least one and at most count - 1, so that a
    class's only image goes to training.
    Raises InputError for a test_fraction outside (0, 1).
    """
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}; right would be between 0 and 1")
    order = generator(seed, "split", class_name).permutation(count)
    tests = max(0, min(max(1, round(count * test_fraction)), count - 1))
    return np.sort(order[tests:]), np.sort(order[:tests])
