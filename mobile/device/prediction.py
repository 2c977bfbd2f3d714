"""What an image was taken for, as an application is told it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cbpnet.host.errors import InputError
from mobile.device.teacher import Answers

__all__ = ["Prediction", "rank"]


@dataclass(frozen=True)
class Prediction:
    """What an image was taken for.

    Attributes:
        ranking: every known class with its probability, the best first; those of a one-pass bundle
            are calibrated by leave-one-out.
        task: the number, counted from 1, of the task whose prompt was used; None for a learner
            without prompts of tasks.
        unknown_score: how unlike anything known it is, see `cbpnet.method.unknown`; None for a
            learner of tasks.
        is_unknown: whether that is above the learner's `unknown_above`: none of the classes.
    """

    ranking: tuple[tuple[str, float], ...]
    task: int | None
    unknown_score: float | None = None
    is_unknown: bool = False

    @property
    def label(self) -> str:
        """The best class."""
        return self.ranking[0][0]

    @property
    def probability(self) -> float:
        """The best class's probability."""
        return self.ranking[0][1]


def rank(found: Answers, names: Sequence[str], unknown_above: float) -> list[Prediction]:
    """Return the predictions of answers, by the known classes' names.

    Raises:
        InputError: a probability or an unknown score is NaN or infinite.
    """
    known = found.probabilities[:, : len(names)]
    unknown = [score for score in found.unknown if score is not None]
    if not (np.isfinite(known).all() and np.isfinite(unknown).all()):
        raise InputError(
            "an image's answer is NaN or infinite, which is none; right would be a bundle and a "
            "state that are not damaged"
        )
    order = np.argsort(-known, axis=1, kind="stable")
    ranked = np.take_along_axis(known, order, axis=1)
    rows = zip(order.tolist(), ranked.tolist(), found.tasks, found.unknown, strict=True)
    return [
        Prediction(
            tuple((names[number], value) for number, value in zip(row, values, strict=True)),
            task,
            score,
            score is not None and score > unknown_above,
        )
        for row, values, task, score in rows
    ]
