"""What the tests of the learner share: pictures to learn, and where there is torch, references."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ArrayImages

if find_spec("torch"):  # a device has none, and its rooms are tested without it too
    from .plain_learner import *  # noqa: F403


@pytest.fixture(scope="session")
def picture_dataset() -> Callable[..., Dataset]:
    """Five classes of noisy pictures, each class with a colour of its own; all pictures differ."""

    def build(train: int = 7, test: int = 4, size: int = 32) -> Dataset:
        random = np.random.default_rng(5)
        colours = random.integers(60, 196, (5, 1, 1, 3))

        def images(count: int) -> ArrayImages:
            labels = np.arange(5).repeat(count)
            noise = random.integers(-60, 60, (len(labels), size, size, 3))
            return ArrayImages((colours[labels] + noise).astype(np.uint8), labels)

        return Dataset("pictures", tuple("abcde"), images(train), images(test), 2)

    return build
