"""Independent random numbers from one seed, the same on every host."""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["RandomStream"]

_FRACTION = 24  # bits of a float in [0, 1): one more could round up to 1


class RandomStream:
    """The random numbers of one purpose under a seed: those of torch's CPU generator.

    A Mersenne Twister of 32 bits (Matsumoto and Nishimura, ACM Transactions on Modeling and
    Computer Simulation 8(1), 1998). Seed and purpose are hashed together to what starts it: of a
    number it keeps the low 32 bits only, so that a purpose in higher bits would be lost.
    """

    def __init__(self, seed: int, purpose: int) -> None:
        digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
        self._twister = np.random.RandomState(int.from_bytes(digest[:4]))

    def uniform(self, *shape: int) -> npt.NDArray[np.float32]:
        """Return numbers uniform in [0, 1), as `torch.rand` draws them."""
        words = self._words(int(np.prod(shape))) & ((1 << _FRACTION) - 1)
        return np.ldexp(words.astype(np.float32), -_FRACTION).reshape(shape)

    def permutation(self, count: int) -> npt.NDArray[np.int64]:
        """Return the numbers below ``count`` in a random order, as `torch.randperm` does."""
        order = list(range(count))
        words = self._words(max(0, count - 1)).tolist()
        for place, word in enumerate(words):
            other = place + word % (count - place)
            order[place], order[other] = order[other], order[place]
        return np.array(order, np.int64)

    def normal(self, *shape: int) -> npt.NDArray[np.float32]:
        """Return standard normal numbers; not those of `torch.randn`."""
        return self._twister.standard_normal(shape).astype(np.float32)

    def _words(self, count: int) -> npt.NDArray[np.uint32]:
        return self._twister.randint(0, 1 << 32, count, np.uint32)
