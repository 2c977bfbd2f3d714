"""A learner's pure functions as a contender of the class-incremental protocol."""

from collections.abc import Mapping
from dataclasses import asdict

from cbpnet.data.images import ImageSource
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.sampling import Indices
from cbpnet.data.stream import Task, TaskStream
from cbpnet.host.arrays import Array
from cbpnet.method.config import ReadoutKind
from cbpnet.method.learner_interface import LearnerInterface
from cbpnet.method.state import HostState
from cbpnet.run.protocol import Learnt, TaskAccuracy
from cbpnet.run.queries import Queries
from cbpnet.run.training import (
    FORWARDS_OF_A_STEP,
    Progress,
    TaskImages,
    TrainingConfig,
    compute_queries,
    initial_state,
    learn_task,
    portions,
)

__all__ = ["LearnerContender"]

_FORWARDS = 2  # to predict: the query, and with prompts


class LearnerContender:
    """A learner that starts from what its seed draws, in PyTorch or as a bundle's program.

    ``readouts`` are the methods that it stands for: each one's name, and the readout that its
    scores are fused with. ``queries`` are the stream's query features where they have been
    computed; otherwise those of training images are computed as a task is learnt, and those of test
    images when first needed. Progress counts an image once for its query if that is computed, once
    in each epoch, and once for its scores.

    Attributes:
        state: what has been learnt so far.
        finished: the number of finished tasks.
    """

    def __init__(
        self,
        learner: LearnerInterface,
        stream: TaskStream,
        preprocessing: Preprocessing,
        training: TrainingConfig,
        seed: int,
        readouts: Mapping[str, ReadoutKind],
        queries: Queries | None = None,
    ) -> None:
        self.learner, self.stream, self.preprocessing = learner, stream, preprocessing
        self.training, self.seed, self.readouts = training, seed, readouts
        self.state: HostState = initial_state(learner, seed)
        self.finished = 0
        self._train_queries = dict(enumerate(queries.train)) if queries else {}
        self._test_queries = dict(enumerate(queries.test)) if queries else {}

    @property
    def settings(self) -> Mapping[str, object]:
        """What the state depends on beside learner and stream, by name."""
        return {"seed": self.seed, **asdict(self.training)}

    def images_to_come(self, first: int | None = None) -> int:
        """Return the images that `run_protocol` will count, with the same ``first``."""
        tasks = self.stream.tasks
        first = self.finished if first is None else first
        if first == len(tasks):
            return 0
        trained = sum(
            len(task.train) * (self.training.epochs + (task.index not in self._train_queries))
            for task in tasks[self.finished :]
        )
        queried = sum(len(task.test) for task in tasks if task.index not in self._test_queries)
        scored = sum(len(task.test) * (len(tasks) - max(first, task.index)) for task in tasks)
        return trained + queried + scored

    def learn(self, task: Task, progress: Progress = lambda images: None) -> Learnt:
        """Learn the next task; after a failure or an interruption nothing has been learnt."""
        source, query = self.stream.train_source, self._train_queries.get(task.index)
        if query is None:
            query = self._compute_queries(source, task.train, progress)
        images = TaskImages(
            load_batch(source, task.train.tolist(), self.preprocessing),
            task.train_labels,
            query,
        )
        state = learn_task(
            self.learner,
            self.state,
            task.index,
            images,
            self.preprocessing,
            self.training,
            self.seed,
            progress,
        )
        self.go_on(state, task.index + 1)
        return Learnt(len(task.train) * (1 + FORWARDS_OF_A_STEP * self.training.epochs))

    def classify(self, task: Task, progress: Progress = lambda images: None) -> TaskAccuracy:
        """Return how a finished task's test images are classified with each readout.

        Every image is classified among all known classes and selects its prompt on its own.
        """
        if task.index not in self._test_queries:
            self._test_queries[task.index] = self._compute_queries(
                self.stream.test_source, task.test, progress
            )
        kinds = list(dict.fromkeys(self.readouts.values()))
        right, selected = dict.fromkeys(kinds, 0), 0
        for indices, query, labels in zip(
            portions(task.test),
            portions(self._test_queries[task.index]),
            portions(task.test_labels),
            strict=True,
        ):
            pixels = load_batch(self.stream.test_source, indices.tolist(), self.preprocessing)
            images = normalise(pixels, self.preprocessing.mean, self.preprocessing.std)
            scores, chosen = self.learner.scores(self.state, images, query, kinds)
            for kind in kinds:
                right[kind] += int((scores[kind].argmax(axis=1) == labels).sum())
            selected += int(chosen[:, task.index].sum())
        count = len(task.test)
        progress(count)
        return TaskAccuracy(
            task.index,
            {name: right[kind] / count for name, kind in self.readouts.items()},
            selected / count if self.learner.config.prompts.e_layers else None,
            _FORWARDS,
        )

    def go_on(self, state: HostState, finished: int) -> None:
        """Go on from a state after so many finished tasks."""
        self.state, self.finished = state, finished

    def _compute_queries(self, source: ImageSource, indices: Indices, progress: Progress) -> Array:
        return compute_queries(self.learner, source, indices, self.preprocessing, progress)
