"""Class-incremental evaluation of one learner: learn a task, test on all tasks so far, repeat."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cbpnet.data.preprocessing import Preprocessing, load_batch, normalise
from cbpnet.data.stream import Task, TaskStream
from cbpnet.method.config import ReadoutKind
from cbpnet.method.learner_interface import LearnerInterface
from cbpnet.method.state import LearnerState
from cbpnet.run.metrics import Matrix
from cbpnet.run.training import (
    INFERENCE_BATCH,
    Progress,
    TaskImages,
    TrainingConfig,
    compute_queries,
    initial_state,
    learn_task,
)

__all__ = ["Queries", "StreamRun", "TaskAccuracy", "evaluate_task", "query_stream", "run_stream"]


@dataclass(frozen=True)
class Queries:
    """The query features of a stream, a tensor [N, D] for each task, computed once.

    ``train_seconds`` is what those of the training images took: a plain frozen forward pass.
    """

    train: tuple[Tensor, ...]
    test: tuple[Tensor, ...]
    train_seconds: float


@dataclass(frozen=True)
class TaskAccuracy:
    """How one task's test images were classified, with each readout.

    ``selection`` is the share of them whose own task's prompt was selected.
    """

    accuracy: dict[ReadoutKind, float]
    selection: float


@dataclass(frozen=True)
class StreamRun:
    """What a learner did on a stream, for each readout that its scores were fused with.

    ``selection`` is the share of test images, after the last task, whose own task's prompt was
    selected; None without prompts.
    """

    state: LearnerState
    matrices: dict[ReadoutKind, Matrix]
    selection: float | None
    train_seconds: float
    eval_seconds: float


def query_stream(
    learner: LearnerInterface, stream: TaskStream, preprocessing: Preprocessing, progress: Progress
) -> Queries:
    """Compute the query features of all images of a stream."""
    start = time.perf_counter()
    train = tuple(
        compute_queries(learner, stream.train_source, task.train, preprocessing, progress)
        for task in stream.tasks
    )
    seconds = time.perf_counter() - start
    test = tuple(
        compute_queries(learner, stream.test_source, task.test, preprocessing, progress)
        for task in stream.tasks
    )
    return Queries(train, test, seconds)


def run_stream(
    learner: LearnerInterface,
    stream: TaskStream,
    queries: Queries,
    preprocessing: Preprocessing,
    config: TrainingConfig,
    seed: int,
    readouts: Sequence[ReadoutKind],
    progress: Progress,
    after_task: Callable[[int, LearnerState], None] = lambda task, state: None,
) -> StreamRun:
    """Learn a stream's tasks one after another and test on all known ones after each.

    ``progress`` counts images, trained and tested; ``after_task`` is told each task's state.
    """
    state = initial_state(learner, seed)
    matrices = {kind: np.full((len(stream.tasks),) * 2, np.nan) for kind in readouts}
    train_seconds = eval_seconds = 0.0
    selected: list[float] = []
    for task, query in zip(stream.tasks, queries.train, strict=True):
        start = time.perf_counter()
        images = TaskImages(
            load_batch(stream.train_source, task.train.tolist(), preprocessing),
            query,
            torch.from_numpy(task.train_labels),
        )
        state = learn_task(
            learner, state, task.index, images, preprocessing, config, seed, progress
        )
        after_task(task.index, state)
        middle = time.perf_counter()
        selected = []
        for known in stream.tasks[: task.index + 1]:
            found = evaluate_task(
                learner, state, stream, known, queries.test[known.index], preprocessing, readouts
            )
            for kind in readouts:
                matrices[kind][task.index, known.index] = found.accuracy[kind]
            selected.append(found.selection * len(known.test))
            progress(len(known.test))
        train_seconds += middle - start
        eval_seconds += time.perf_counter() - middle
    tested = sum(len(task.test) for task in stream.tasks)
    selection = sum(selected) / tested if learner.config.prompts.e_layers else None
    return StreamRun(state, matrices, selection, train_seconds, eval_seconds)


def evaluate_task(
    learner: LearnerInterface,
    state: LearnerState,
    stream: TaskStream,
    task: Task,
    query: Tensor,
    preprocessing: Preprocessing,
    readouts: Sequence[ReadoutKind],
) -> TaskAccuracy:
    """Return how a task's test images are classified with each readout.

    Every image is classified among all known classes and selects its prompt on its own.
    """
    right = dict.fromkeys(readouts, 0)
    selected = 0
    indices = torch.from_numpy(task.test).split(INFERENCE_BATCH)
    labels = torch.from_numpy(task.test_labels).split(INFERENCE_BATCH)
    batches = zip(indices, query.split(INFERENCE_BATCH), labels, strict=True)
    with torch.no_grad():
        for batch, features, wanted in batches:
            pixels = load_batch(stream.test_source, batch.tolist(), preprocessing)
            images = normalise(pixels, preprocessing.mean, preprocessing.std)
            scores, chosen = learner.scores(state, images, features, readouts)
            for kind in readouts:
                right[kind] += int((scores[kind].argmax(dim=1) == wanted).sum())
            selected += int(chosen[:, task.index].sum())
    images_tested = len(task.test)
    return TaskAccuracy(
        {kind: count / images_tested for kind, count in right.items()}, selected / images_tested
    )
