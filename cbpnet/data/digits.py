"""scikit-learn's handwritten digits, which need no download."""

import numpy as np

from cbpnet.data.dataset import Dataset
from cbpnet.data.images import ArrayImages
from cbpnet.data.sampling import Indices, split_class

__all__ = ["load_digits"]

_BRIGHTEST = 16


def load_digits() -> Dataset:
    """The 1,797 grey 8x8 digits, scaled from 0..16 to 0..255, a fixed fifth of each for test."""
    from sklearn import datasets  # takes seconds to import, and only this function needs it

    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    class_names = tuple(str(digit) for digit in range(10))

    train: list[Indices] = []
    test: list[Indices] = []
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels == label)
        kept, held_out = split_class(len(members), test_fraction=0.2, seed=0, class_name=name)
        train.append(members[kept])
        test.append(members[held_out])

    def images(parts: list[Indices], title: str) -> ArrayImages:
        chosen = np.concatenate(parts)
        return ArrayImages(pixels[chosen], labels[chosen], title)

    return Dataset(
        name="digits",
        class_names=class_names,
        train=images(train, "digits training image"),
        test=images(test, "digits test image"),
        classes_per_task=2,
    )
