"""The class-incremental protocol: learn a task, test on all tasks so far, repeat."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import numpy as np

from cbpnet.data.stream import Task, TaskStream
from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb
from cbpnet.run.lesson import Decision
from cbpnet.run.metrics import Matrix, RunResult
from cbpnet.run.training import Progress

__all__ = [
    "Contender",
    "Learnt",
    "ProtocolRecord",
    "TaskAccuracy",
    "TaskOutcome",
    "check_every_task_is_tested",
    "run_protocol",
]


@dataclass(frozen=True)
class Learnt:
    """What learning a task took.

    ``forwards`` are its passes through the backbone, in forward passes of one image; an image of a
    training step counts `cbpnet.run.training.FORWARDS_OF_A_STEP`. ``decision`` is the one-pass
    learner's, None for all others.
    """

    forwards: int
    decision: Decision | None = None


@dataclass(frozen=True)
class TaskAccuracy:
    """How the test images of one task were classified, among all known classes.

    ``task`` counts from 0. ``accuracy`` in [0, 1] is by method: one contender may stand for
    several that differ in what they make of the same scores. ``selection`` is the share of the
    images whose own task's prompt was selected; None without prompts. ``forwards`` are the passes
    through the backbone that an image took.
    """

    task: int
    accuracy: dict[str, float]
    selection: float | None = None
    forwards: int = 1


class Contender(Protocol):
    """Whoever learns the tasks of a stream, in their order, and is tested on them."""

    @property
    def finished(self) -> int:
        """The number of tasks that have been learnt."""

    def learn(self, task: Task, progress: Progress) -> Learnt:
        """Learn the next task: the one whose index is `finished`."""

    def classify(self, task: Task, progress: Progress) -> TaskAccuracy:
        """Classify the test images of a task that has been learnt, each on its own."""


@dataclass(frozen=True)
class TaskOutcome:
    """What was measured after learning task number ``task``, counted from 0.

    ``tested`` are the tasks so far that have test images. ``learnt`` and ``train_seconds`` are None
    where the task had been learnt before. ``peak_rss_mb`` is the process's peak by then, in
    MB of 10^6 bytes.
    """

    task: int
    tested: tuple[TaskAccuracy, ...]
    learnt: Learnt | None
    train_seconds: float | None
    eval_seconds: float
    peak_rss_mb: float


def run_protocol(
    contender: Contender,
    stream: TaskStream,
    progress: Progress = lambda images: None,
    first: int | None = None,
) -> Iterator[TaskOutcome]:
    """Let a contender learn a stream's tasks and yield the outcome of each.

    Args:
        contender: goes on after the tasks that it has learnt.
        stream: the tasks.
        progress: is told of images as the contender counts them.
        first: the task of the first outcome, by default the next one to be learnt. A task that has
            been learnt already is only tested: right for the last of those.
    """
    for task in stream.tasks[contender.finished if first is None else first :]:
        learnt, train_seconds, start = None, None, time.perf_counter()
        if task.index >= contender.finished:
            learnt = contender.learn(task, progress)
            train_seconds = time.perf_counter() - start
        middle = time.perf_counter()
        known = [one for one in stream.tasks[: task.index + 1] if len(one.test)]
        tested = tuple(contender.classify(one, progress) for one in known)
        eval_seconds = time.perf_counter() - middle
        yield TaskOutcome(task.index, tested, learnt, train_seconds, eval_seconds, peak_rss_mb())


@dataclass(frozen=True)
class ProtocolRecord:
    """The outcomes of a stream's tasks, from the first one on.

    ``query_seconds`` is what the query features of the training images took where they were
    computed before the first task.
    """

    outcomes: tuple[TaskOutcome, ...]
    query_seconds: float = 0.0

    @property
    def train_seconds(self) -> float:
        """Seconds of learning, without `query_seconds`; NaN where no task was timed.

        A task that was not timed is taken to have been like the others.
        """
        timed = [one.train_seconds for one in self.outcomes if one.train_seconds is not None]
        return fmean(timed) * len(self.outcomes) if timed else float("nan")

    def result(self, method: str, stream: TaskStream, seed: int) -> RunResult:
        """Return what a method did on a whole stream, every task of which has test images."""
        test_images = tuple(len(task.test) for task in stream.tasks)
        return RunResult(
            method=method,
            seed=seed,
            matrix=self._matrix(method),
            test_images=test_images,
            prompt_selection=self._selection(test_images),
            train_seconds=self.train_seconds + self.query_seconds,
            eval_seconds=sum(one.eval_seconds for one in self.outcomes),
            peak_rss_mb=max(one.peak_rss_mb for one in self.outcomes),
            lessons_adapted=self._lessons_adapted(),
            learning_forwards=self._learning_forwards(stream),
            predicting_forwards=self.outcomes[-1].tested[-1].forwards,
        )

    def _lessons_adapted(self) -> int | None:
        """Return how many lessons adapted the features; None for learners that do not decide it."""
        known = [one.learnt.decision for one in self.outcomes if one.learnt]
        decisions = [one for one in known if one]
        return (
            sum(one.adapts for one in decisions) if len(decisions) == len(self.outcomes) else None
        )

    def _learning_forwards(self, stream: TaskStream) -> float | None:
        """Return the forward passes a training image."""
        known = [one.learnt.forwards for one in self.outcomes if one.learnt]
        images = sum(len(task.train) for task in stream.tasks)
        return sum(known) / images if len(known) == len(self.outcomes) else None

    def _matrix(self, method: str) -> Matrix:
        matrix = np.full((len(self.outcomes),) * 2, np.nan)
        for outcome in self.outcomes:
            for found in outcome.tested:
                matrix[outcome.task, found.task] = found.accuracy[method]
        return matrix

    def _selection(self, test_images: tuple[int, ...]) -> float | None:
        """Return the share over all test images after the last task."""
        shares = [found.selection for found in self.outcomes[-1].tested]
        known = [share for share in shares if share is not None]
        return float(np.average(known, weights=test_images)) if known else None


def check_every_task_is_tested(stream: TaskStream) -> None:
    """Raise `InputError` for a stream that has a task without test images."""
    for task in stream.tasks:
        if not len(task.test):
            raise InputError(
                f"task {task.index + 1} of {len(stream.tasks)} has no test image; an evaluation "
                "needs one in each task"
            )
