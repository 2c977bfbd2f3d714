"""What verifying a bundle compares: figures of the program and of PyTorch on the same patterns."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.state import LearnerState

__all__ = ["Agreement", "Comparison", "Patterns", "check_equal", "furthest"]


@dataclass(frozen=True)
class Patterns:
    """Images [N, 3, S, S] of two classes, their ``labels`` [N], and a source of random numbers."""

    images: Tensor
    labels: Tensor
    generator: torch.Generator


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
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    state: LearnerState


def furthest(a: Tensor, b: Tensor) -> float:
    """Return the largest difference; infinities that are the same differ by nothing."""
    return (a - b).where(a != b, 0.0).abs().max().item()


def check_equal(what: str, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise `InputError` unless tensors are those that are wanted, bit for bit."""
    for name, value in wanted.items():
        if not found[name].equal(value):
            raise InputError(
                f"the exported program's {what} has another {name} than it should; "
                "nothing is written"
            )
