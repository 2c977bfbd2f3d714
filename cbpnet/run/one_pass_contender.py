"""A one-pass learner's pure functions as a contender of the class-incremental protocol."""

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from cbpnet.data.images import Labels
from cbpnet.data.pixels import load_batch, normalise
from cbpnet.data.preprocessing import Preprocessing
from cbpnet.data.sampling import Indices
from cbpnet.data.stream import Task, TaskStream
from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import ReadoutKind
from cbpnet.method.learner_interface import OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.run.lesson import count_forwards, learn_lesson, may_adapt
from cbpnet.run.protocol import Learnt, TaskAccuracy
from cbpnet.run.training import LessonImages, Progress, TrainingConfig, portions

__all__ = ["OnePassContender"]


class OnePassContender:
    """A one-pass learner that starts from what its seed draws, in PyTorch or as a bundle's program.

    ``readouts`` are the methods that it stands for: each one's name, and the readout that is solved
    from the statistics, which are the same for all. ``keep`` pictures of each class, the first of
    its training images, are kept for later adaptations. Progress counts an image once for each
    pass, forward or both ways, and once for its scores.

    Attributes:
        state: what has been learnt so far.
        finished: the number of finished tasks.
    """

    def __init__(
        self,
        learner: OnePassInterface,
        stream: TaskStream,
        preprocessing: Preprocessing,
        training: TrainingConfig,
        seed: int,
        readouts: Mapping[str, ReadoutKind],
        keep: int = 0,
    ) -> None:
        self.learner, self.stream, self.preprocessing = learner, stream, preprocessing
        self.training, self.seed, self.readouts, self.keep = training, seed, readouts, keep
        self.state: HostState = learner.initial_state(RandomStream(seed, 0))
        self.finished = 0
        self._solved: dict[ReadoutKind, HostState] = {}
        self._test_features: dict[int, Array] = {}  # of the prompt as it is

    @property
    def settings(self) -> Mapping[str, object]:
        """What the state depends on beside learner and stream, by name."""
        return {"seed": self.seed, **asdict(self.training), "kept pictures": self.keep}

    def images_to_come(self, first: int | None = None) -> int:
        """Return the most images that `run_protocol` will count, with the same ``first``.

        A lesson that may adapt the features is taken for one that does.
        """
        tasks = self.stream.tasks
        first = self.finished if first is None else first
        if first == len(tasks):
            return 0
        learnt, adapted = 0, bool(self.state["lessons.adapted"] > 0)
        others = sum(len(task.classes) for task in tasks[: self.finished])
        for task in tasks[self.finished :]:
            learnt += len(task.train)
            if may_adapt(self.learner.config.adaptation, len(task.classes), others, adapted):
                learnt += (self.training.epochs + 1) * len(task.train)
                learnt += 2 * len(self._kept_before(task)[0])
                adapted = True
            others += len(task.classes)
        scored = sum(len(task.test) * (len(tasks) - max(first, task.index)) for task in tasks)
        return learnt + scored

    def learn(self, task: Task, progress: Progress = lambda images: None) -> Learnt:
        """Learn the next task; after a failure or an interruption nothing has been learnt."""
        kept = self._kept_before(task)
        outcome = learn_lesson(
            self.learner,
            self.state,
            self.images(task),
            self.preprocessing,
            self.training,
            self.seed,
            self._shown(*kept) if len(kept[0]) else None,
            progress,
        )
        self.go_on(outcome.state, task.index + 1)
        return Learnt(count_forwards(len(task.train), outcome.decision), outcome.decision)

    def classify(self, task: Task, progress: Progress = lambda images: None) -> TaskAccuracy:
        """Return how a finished task's test images are classified with each readout.

        Every image is classified among all known classes. Its features are those of last time
        where no lesson has adapted them since.
        """
        if task.index not in self._test_features:
            self._test_features[task.index] = self._features(task)
        x, labels = self._test_features[task.index], task.test_labels
        accuracy = {}
        for name, kind in self.readouts.items():
            scores, *_ = self.learner.predict(self._solved_by(kind), x)
            accuracy[name] = int((scores.argmax(axis=1) == labels).sum()) / len(labels)
        progress(len(labels))
        return TaskAccuracy(task.index, accuracy)

    def images(self, task: Task) -> LessonImages:
        """Return the images that a task is learnt from."""
        return self._shown(task.train, task.train_labels)

    def go_on(self, state: HostState, finished: int) -> None:
        """Go on from a state after so many finished tasks."""
        if state["lessons.adapted"] != self.state["lessons.adapted"]:
            self._test_features.clear()
        self._solved.clear()
        self.state, self.finished = state, finished

    def _solved_by(self, kind: ReadoutKind) -> HostState:
        """Return the state with a readout of a kind: the learner's own, or another solved here."""
        if kind == self.learner.config.readout.kind:
            return self.state
        if kind not in self._solved:
            self._solved[kind] = self.learner.solve_as(kind, self.state)
        return self._solved[kind]

    def _kept_before(self, task: Task) -> tuple[Indices, Labels]:
        """Return the pictures that are kept of the classes before a task, and their classes."""
        indices, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for earlier in self.stream.tasks[: task.index]:
            for label in earlier.classes:
                own = earlier.train[earlier.train_labels == label][: self.keep]
                indices.append(own)
                labels.append(np.full(len(own), label))
        return np.concatenate(indices), np.concatenate(labels)

    def _shown(self, indices: Indices, labels: Labels) -> LessonImages:
        pixels = load_batch(self.stream.train_source, indices.tolist(), self.preprocessing)
        return LessonImages(pixels, labels)

    def _features(self, task: Task) -> Array:
        """Return the features [N, F] of a task's test images."""
        found, preprocessing = [], self.preprocessing
        for indices in portions(task.test):
            pixels = load_batch(self.stream.test_source, indices.tolist(), preprocessing)
            images = normalise(pixels, preprocessing.mean, preprocessing.std)
            found.append(self.learner.features(self.state, images))
        return np.concatenate(found)
