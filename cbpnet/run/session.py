"""A run of training that lives in its state file, so that it can be interrupted and resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cbpnet.data.preprocessing import load_batch
from cbpnet.data.stream import Task, TaskStream, fingerprint_stream
from cbpnet.host.errors import InputError
from cbpnet.method.config import ReadoutKind
from cbpnet.method.learner_interface import LearnerInterface
from cbpnet.method.state import LearnerState
from cbpnet.run.evaluation import TaskAccuracy, evaluate_task
from cbpnet.run.state_file import StateInfo, check_fit, load_state, save_state
from cbpnet.run.training import (
    Progress,
    TaskImages,
    TrainingConfig,
    compute_queries,
    initial_state,
    learn_task,
)

__all__ = ["TrainingSession"]


class TrainingSession:
    """Learns the tasks of a stream one after another and saves the state after each.

    Where the state file exists, the session goes on after its last finished task and ends in the
    same state, bit for bit, as one that was never interrupted (with the same number of threads on
    the same machine).

    ``identity`` says what states of this learner belong to; its class names and progress are
    replaced. ``arithmetic`` is what the backbone computes in, for instance "float32": a run is not
    resumed in another.

    Attributes:
        state: what has been learnt so far.
        finished: the number of finished tasks.

    Raises:
        InputError: the learner's capacity is too small for the stream, or the file is no state or
            that of another run, which is named.
    """

    def __init__(
        self,
        path: Path,
        learner: LearnerInterface,
        identity: StateInfo,
        arithmetic: str,
        stream: TaskStream,
        training: TrainingConfig,
        seed: int,
    ) -> None:
        self.path, self.stream, self.training, self.seed = path, stream, training, seed
        self.learner, self.identity = learner, identity
        _check_capacity("classes", learner.classes, len(stream.class_names))
        _check_capacity("tasks", learner.tasks, len(stream.tasks))
        self.run: dict[str, Any] = {
            "seed": seed,
            **asdict(training),
            "dtype": arithmetic,
            "classes of each task": [len(task.classes) for task in stream.tasks],
            "training images of each task": [len(task.train) for task in stream.tasks],
            "images": fingerprint_stream(stream),
        }
        self.state, self.finished = self._resume()
        self._test_queries: dict[int, Tensor] = {}

    @property
    def images_to_come(self) -> int:
        """How many images `learn_next` and `evaluate`, after each task, will report as progress."""
        tasks, first = self.stream.tasks, self.finished
        if first == len(tasks):
            return 0
        trained = sum(len(task.train) for task in tasks[first:]) * (1 + self.training.epochs)
        tested = sum(len(task.test) * (1 + len(tasks) - max(first, task.index)) for task in tasks)
        return trained + tested

    def learn_next(self, progress: Progress = lambda images: None) -> Task:
        """Learn the next task, save the state and return the task.

        ``progress`` counts images: each once for its query and once in each epoch.
        """
        task = self.stream.tasks[self.finished]
        preprocessing, source = self.identity.preprocessing, self.stream.train_source
        images = TaskImages(
            load_batch(source, task.train.tolist(), preprocessing),
            compute_queries(self.learner, source, task.train, preprocessing, progress),
            torch.from_numpy(task.train_labels),
        )
        state = learn_task(
            self.learner,
            self.state,
            task.index,
            images,
            preprocessing,
            self.training,
            self.seed,
            progress,
        )
        save_state(self.path, state, self._info(task.index + 1))
        self.state, self.finished = state, task.index + 1
        return task

    def evaluate(
        self, readouts: Sequence[ReadoutKind], progress: Progress = lambda images: None
    ) -> dict[int, TaskAccuracy]:
        """Return how each finished task's test images are classified among all known classes.

        A task without test images is left out. ``progress`` counts images: each once for its
        query, at its first evaluation, and once for its scores.
        """
        preprocessing, source = self.identity.preprocessing, self.stream.test_source
        accuracies = {}
        for task in self.stream.tasks[: self.finished]:
            if not len(task.test):
                continue
            if task.index not in self._test_queries:
                self._test_queries[task.index] = compute_queries(
                    self.learner, source, task.test, preprocessing, progress
                )
            query = self._test_queries[task.index]
            accuracies[task.index] = evaluate_task(
                self.learner, self.state, self.stream, task, query, preprocessing, readouts
            )
            progress(len(task.test))
        return accuracies

    def _info(self, finished: int) -> StateInfo:
        known = sum(len(task.classes) for task in self.stream.tasks[:finished])
        return replace(
            self.identity,
            class_names=self.stream.class_names[:known],
            progress={"run": self.run, "finished": finished},
        )

    def _resume(self) -> tuple[LearnerState, int]:
        """Return the saved state, or the initial one, and the number of finished tasks."""
        if not self.path.exists():
            return initial_state(self.learner, self.seed), 0
        state, info = load_state(self.path)
        try:
            check_fit(info, self._info(0))
            _check_run(info.progress.get("run"), self.run)
        except InputError as error:
            raise InputError(
                f"{self.path} is of another run: {error}; repeat that run's command or name "
                "another file"
            ) from error
        return state, info.progress["finished"]


def _check_capacity(name: str, capacity: int, needed: int) -> None:
    if capacity < needed:
        raise InputError(f"the capacity is {capacity} {name}; the tasks to learn need {needed}")


def _check_run(found: object, expected: Mapping[str, object]) -> None:
    if not isinstance(found, dict):
        raise InputError("it does not say how it was trained")
    for name, ours in expected.items():
        if found.get(name) != ours:
            raise InputError(f"{name} was {found.get(name)!r} and is {ours!r} now")
