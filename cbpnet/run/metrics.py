"""Figures of merit of class-incremental learning, over the accuracy matrix R.

`R[t, i]`, a float64 array [T, T], is the accuracy in [0, 1] on the test images of task i after
learning task t, among all classes learnt by then; entries with i > t are NaN. Every average is
over *tasks*, each with equal weight, as in the literature; where all tasks have the same number
of test images it equals the average over images.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from cbpnet.host.errors import InputError

__all__ = [
    "Matrix",
    "MethodKind",
    "MethodSummary",
    "RunResult",
    "Statistic",
    "accuracy_over_tasks",
    "average_accuracy",
    "average_incremental_accuracy",
    "by_method",
    "forgetting",
    "learning_accuracy",
    "summarise",
]

Matrix = npt.NDArray[np.float64]


def accuracy_over_tasks(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Return [T]: after each task t, the mean accuracy over tasks 0 to t.

    Raises:
        InputError: `matrix` is not square, or not an accuracy in [0, 1] on and below the diagonal.
    """
    _check(matrix)
    return np.array([row[: task + 1].mean() for task, row in enumerate(matrix)])


def average_accuracy(matrix: Matrix) -> float:
    """Return the final average accuracy: the mean over tasks after the last one."""
    return float(accuracy_over_tasks(matrix)[-1])


def average_incremental_accuracy(matrix: Matrix) -> float:
    """Return the mean, over the tasks learnt so far, of the average accuracy after each."""
    return float(accuracy_over_tasks(matrix).mean())


def forgetting(matrix: Matrix) -> float:
    """Return how far earlier tasks fell from their best, in [-1, 1]; 0 where there is one task.

    Chaudhry et al., ECCV 2018 (arXiv:1801.10112): the mean over tasks i before the last of
    `max R[t, i]` over t before the last, less `R[T-1, i]`. Negative if earlier tasks improved.
    """
    _check(matrix)
    if len(matrix) == 1:
        return 0.0
    best = np.nanmax(matrix[:-1, :-1], axis=0)
    return float((best - matrix[-1, :-1]).mean())


def learning_accuracy(matrix: Matrix) -> float:
    """Return the mean accuracy on each task right after it (Riemer et al., arXiv:1810.11910)."""
    _check(matrix)
    return float(matrix.diagonal().mean())


def _check(matrix: Matrix) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise InputError(f"the accuracy matrix has shape {matrix.shape}; it must be tasks x tasks")
    for task, row in enumerate(matrix):
        learnt = row[: task + 1]
        if not ((learnt >= 0) & (learnt <= 1)).all():
            raise InputError(
                f"after task {task} the accuracy matrix holds {learnt.tolist()}; "
                "accuracies on the tasks learnt so far must be in [0, 1]"
            )
        if not np.isnan(row[task + 1 :]).all():
            raise InputError(
                f"after task {task} the accuracy matrix holds {row[task + 1 :].tolist()} for tasks "
                "that are still to come; these must be NaN"
            )


class MethodKind(StrEnum):
    """What a method's numbers may be compared with."""

    GRADIENT = "gradient"
    CLOSED_FORM = "closed form"
    UPPER_BOUND = "all data at once"


@dataclass(frozen=True, eq=False)
class RunResult:
    """One method on one seed, over all tasks.

    `test_images` is the number of test images of each task. `prompt_selection` is the share of
    all test images, after the last task, for which the prompt of their own task was selected;
    None for a method without prompts. `trainable_share` is trained parameters over the
    backbone's, both without head; None for a method that trains nothing. `lessons_adapted` are the
    lessons in which a one-pass learner adapted the features; None for others.
    `learning_forwards` and `predicting_forwards` are the passes through the backbone that an image
    took, in forward passes. All three are None where a run that was resumed does not know.
    """

    method: str
    seed: int
    matrix: Matrix
    test_images: tuple[int, ...]
    prompt_selection: float | None
    train_seconds: float
    eval_seconds: float
    peak_rss_mb: float
    kind: MethodKind = MethodKind.GRADIENT
    trainable_share: float | None = None
    lessons_adapted: int | None = None
    learning_forwards: float | None = None
    predicting_forwards: float | None = None
    extra: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.matrix)
        if len(self.test_images) != len(self.matrix) or min(self.test_images) < 1:
            raise InputError(
                f"{self.method}: test_images is {self.test_images}; it must name at least one "
                f"image for each of the {len(self.matrix)} tasks"
            )


@dataclass(frozen=True)
class Statistic:
    """Mean over seeds and sample standard deviation (n - 1), which is None for a single seed."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class MethodSummary:
    """One method over all its seeds; None where its runs do not have the figure."""

    method: str
    kind: MethodKind
    seeds: tuple[int, ...]
    average_accuracy: Statistic
    average_incremental_accuracy: Statistic
    forgetting: Statistic
    learning_accuracy: Statistic
    prompt_selection: Statistic | None
    trainable_share: Statistic | None
    lessons_adapted: Statistic | None
    learning_forwards: Statistic | None
    predicting_forwards: Statistic | None
    train_seconds: Statistic
    eval_seconds: Statistic
    peak_rss_mb: Statistic


def by_method(results: Iterable[RunResult]) -> dict[str, list[RunResult]]:
    """Group runs by method, methods and runs in the order in which they come."""
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(result.method, []).append(result)
    return groups


def summarise(results: Iterable[RunResult]) -> list[MethodSummary]:
    """Summarise each method's runs over seeds, methods in the order in which they come."""
    return [_summary(runs) for runs in by_method(results).values()]


def _summary(runs: Sequence[RunResult]) -> MethodSummary:
    return MethodSummary(
        method=runs[0].method,
        kind=runs[0].kind,
        seeds=tuple(run.seed for run in runs),
        average_accuracy=_statistic([average_accuracy(run.matrix) for run in runs]),
        average_incremental_accuracy=_statistic(
            [average_incremental_accuracy(run.matrix) for run in runs]
        ),
        forgetting=_statistic([forgetting(run.matrix) for run in runs]),
        learning_accuracy=_statistic([learning_accuracy(run.matrix) for run in runs]),
        prompt_selection=_optional_statistic([run.prompt_selection for run in runs]),
        trainable_share=_optional_statistic([run.trainable_share for run in runs]),
        lessons_adapted=_optional_statistic([run.lessons_adapted for run in runs]),
        learning_forwards=_optional_statistic([run.learning_forwards for run in runs]),
        predicting_forwards=_optional_statistic([run.predicting_forwards for run in runs]),
        train_seconds=_statistic([run.train_seconds for run in runs]),
        eval_seconds=_statistic([run.eval_seconds for run in runs]),
        peak_rss_mb=_statistic([run.peak_rss_mb for run in runs]),
    )


def _statistic(values: Sequence[float]) -> Statistic:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Statistic(statistics.fmean(values), deviation)


def _optional_statistic(values: Sequence[float | None]) -> Statistic | None:
    present = [value for value in values if value is not None]
    return _statistic(present) if len(present) == len(values) else None
