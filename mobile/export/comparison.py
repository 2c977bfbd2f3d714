"""What verifying a bundle compares: figures of the program and of PyTorch on the same patterns."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.state import HostState
from cbpnet.method.tensors import tensor_of
from quantize.distance import flat_cosine

__all__ = ["Agreement", "Comparison", "Patterns", "check_equal", "cosine", "furthest"]


@dataclass(frozen=True)
class Patterns:
    """Images [N, 3, S, S] of two classes, their ``labels`` [N], and a source of random numbers."""

    images: Array
    labels: Array
    stream: RandomStream


@dataclass(frozen=True)
class Agreement:
    """How far a bundle agrees with PyTorch in the same precision, on seeded random patterns.

    ``features`` and each of ``gradients`` is a cosine; ``scores`` the largest difference of a
    class's score. What this machine cannot run has no figure.
    """

    features: float | None
    scores: float | None
    gradients: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found: ``before`` and ``after`` one step of the program's, by name.

    ``state`` is one that knows something.
    """

    agreement: Agreement
    before: Mapping[str, Array]
    after: Mapping[str, Array]
    state: HostState


def cosine(a: Array, b: Array) -> float:
    """Return the cosine of two arrays, each taken as one vector."""
    return flat_cosine(tensor_of(a), tensor_of(b))


def furthest(a: Array, b: Array) -> float:
    """Return the largest difference; infinities that are the same differ by nothing."""
    with np.errstate(invalid="ignore"):
        return float(np.abs(np.where(a != b, a - b, 0.0)).max())


def check_equal(what: str, found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    """Raise `InputError` unless tensors are those that are wanted, bit for bit."""
    for name, value in wanted.items():
        if not np.array_equal(found[name], value):
            raise InputError(
                f"the exported program's {what} has another {name} than it should; "
                "nothing is written"
            )
