"""What is compared with what, and the ratio pair by pair.

The machine's better and worse moments fall on both calls of a pair alike, where they would spoil
the quotient of two medians.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cbpnet.host.errors import InputError

__all__ = [
    "Bar",
    "Call",
    "Comparison",
    "Samples",
    "Spread",
    "ratios",
    "spread",
    "take_turns",
    "times",
    "update_share",
]


class Call(NamedTuple):
    """An operation of a peer."""

    peer: str
    operation: str


@dataclass(frozen=True)
class Comparison:
    """The time of a call over that of another one.

    ``every`` counts the rounds of which it takes part in one.
    """

    over: Call
    under: Call
    every: int = 1


@dataclass(frozen=True)
class Samples:
    """Milliseconds of both calls of a comparison, pair by pair."""

    over: tuple[float, ...]
    under: tuple[float, ...]


@dataclass(frozen=True)
class Spread:
    """Median, 5th and 95th percentile, and of how many."""

    median: float
    p5: float
    p95: float
    count: int


@dataclass(frozen=True)
class Bar:
    """What a figure is to keep to."""

    kind: Literal["at least", "at most"]
    value: float

    def holds(self, figure: float) -> bool:
        """Whether the figure keeps to it."""
        return figure >= self.value if self.kind == "at least" else figure <= self.value


def take_turns(
    comparisons: Sequence[Comparison],
    rounds: int,
    measure: Callable[[Call, int], float],
    progress: Callable[[int], object] = lambda rounds: None,
) -> dict[Comparison, Samples]:
    """Measure every comparison's two calls one after the other, round after round.

    Every second time the other one of the two comes first. ``measure`` is given a call and the
    round's number, and returns milliseconds.

    Raises:
        InputError: there are fewer rounds than a comparison waits for its first turn, one.
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}; it must be at least 1")
    taken: dict[Comparison, list[dict[Call, float]]] = {each: [] for each in comparisons}
    for number in range(rounds):
        for comparison, pairs in taken.items():
            if number % comparison.every:
                continue
            order = (comparison.under, comparison.over)
            if len(pairs) % 2:
                order = order[::-1]
            pairs.append({call: measure(call, number) for call in order})
        progress(1)
    return {
        comparison: Samples(
            tuple(pair[comparison.over] for pair in pairs),
            tuple(pair[comparison.under] for pair in pairs),
        )
        for comparison, pairs in taken.items()
    }


def spread(values: Sequence[float]) -> Spread:
    """Return the percentiles of values, numpy's, interpolated."""
    p5, median, p95 = np.percentile(values, [5, 50, 95]).tolist()
    return Spread(median, p5, p95, len(values))


def ratios(samples: Samples) -> Spread:
    """Return the spread of the ratios of pairs."""
    return spread([a / b for a, b in zip(samples.over, samples.under, strict=True)])


def times(samples: Mapping[Comparison, Samples]) -> dict[Call, Spread]:
    """Return the spread of every call's milliseconds, over all comparisons that it is in."""
    found: dict[Call, list[float]] = {}
    for comparison, pair in samples.items():
        found.setdefault(comparison.over, []).extend(pair.over)
        found.setdefault(comparison.under, []).extend(pair.under)
    return {call: spread(values) for call, values in found.items()}


def update_share(update_over_gradients: float, batch: int) -> float:
    """Return the share of `update` in a step: ``batch`` times `gradients`, then `update`."""
    return update_over_gradients / (batch + update_over_gradients)
