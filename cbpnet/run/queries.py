"""The query features of a whole stream, computed once for all that learn from them."""

import time
from dataclasses import dataclass

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.stream import TaskStream
from cbpnet.host.arrays import Array
from cbpnet.method.learner_interface import LearnerInterface
from cbpnet.run.training import Progress, compute_queries

__all__ = ["Queries", "query_stream"]


@dataclass(frozen=True)
class Queries:
    """The query features of a stream, an array [N, D] for each task.

    ``train_seconds`` is what those of the training images took: a plain frozen forward pass.
    """

    train: tuple[Array, ...]
    test: tuple[Array, ...]
    train_seconds: float


def query_stream(
    learner: LearnerInterface, stream: TaskStream, preprocessing: Preprocessing, progress: Progress
) -> Queries:
    """Compute the query features of all images of a stream; ``progress`` counts images."""
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
