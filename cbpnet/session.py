"""A run of training that lives in its state file, so that it can be interrupted and resumed."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cbpnet.backbone import Backbone
from cbpnet.config import LearnerConfig
from cbpnet.data.preprocess import load_batch
from cbpnet.data.stream import Task, TaskStream
from cbpnet.errors import InputError
from cbpnet.evaluation import evaluate_task
from cbpnet.fingerprint import fingerprint_stream
from cbpnet.learner import Learner
from cbpnet.state import LearnerState
from cbpnet.state_file import StateInfo, check_fit, load_state, save_state
from cbpnet.training import (
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

    Attributes:
        state: what has been learnt so far.
        finished: the number of finished tasks.

    Raises:
        InputError: the capacity of ``classes`` and ``tasks`` (by default the stream's own numbers)
            is too small, or the file is no state or that of another run, which is named.
    """

    def __init__(
        self,
        path: Path,
        backbone: Backbone,
        config: LearnerConfig,
        stream: TaskStream,
        training: TrainingConfig,
        seed: int,
        classes: int | None = None,
        tasks: int | None = None,
    ) -> None:
        self.path, self.stream, self.training, self.seed = path, stream, training, seed
        self.backbone = backbone
        self.learner = Learner(
            backbone,
            config,
            _capacity("classes", classes, len(stream.class_names)),
            _capacity("tasks", tasks, len(stream.tasks)),
        )
        self.run: dict[str, Any] = {
            "seed": seed,
            **asdict(training),
            "dtype": str(backbone.dtype).removeprefix("torch."),
            "classes of each task": [len(task.classes) for task in stream.tasks],
            "training images of each task": [len(task.train) for task in stream.tasks],
            "images": fingerprint_stream(stream),
        }
        self.state, self.finished = self._resume()
        self._test_queries: dict[int, Tensor] = {}

    def learn_next(self, progress: Progress = lambda images: None) -> Task:
        """Learn the next task, save the state and return the task.

        ``progress`` counts images: each once for its query and once in each epoch.
        """
        task = self.stream.tasks[self.finished]
        preprocessing, source = self.backbone.preprocessing, self.stream.train_source
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

    def evaluate(self, progress: Progress = lambda images: None) -> dict[int, float]:
        """Return the accuracy on each finished task's test images, among all known classes.

        A task without test images is left out. ``progress`` counts images: each once for its
        query, at its first evaluation, and once for its scores.
        """
        readout = self.learner.config.readout.kind
        preprocessing, source = self.backbone.preprocessing, self.stream.test_source
        accuracies = {}
        for task in self.stream.tasks[: self.finished]:
            if not len(task.test):
                continue
            if task.index not in self._test_queries:
                self._test_queries[task.index] = compute_queries(
                    self.learner, source, task.test, preprocessing, progress
                )
            query = self._test_queries[task.index]
            right, _ = evaluate_task(
                self.learner, self.state, self.stream, task, query, preprocessing, [readout]
            )
            accuracies[task.index] = right[readout]
            progress(len(task.test))
        return accuracies

    def _info(self, finished: int) -> StateInfo:
        known = sum(len(task.classes) for task in self.stream.tasks[:finished])
        return StateInfo(
            backbone=self.backbone.name,
            weights=self.backbone.weights_fingerprint,
            dim=self.backbone.dim,
            preprocessing=self.backbone.preprocessing,
            config=self.learner.config,
            classes=self.learner.classes,
            tasks=self.learner.tasks,
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


def _capacity(name: str, asked: int | None, needed: int) -> int:
    capacity = needed if asked is None else asked
    if capacity < needed:
        raise InputError(f"the capacity is {capacity} {name}; the tasks to learn need {needed}")
    return capacity


def _check_run(found: object, expected: Mapping[str, object]) -> None:
    if not isinstance(found, dict):
        raise InputError("it does not say how it was trained")
    for name, ours in expected.items():
        if found.get(name) != ours:
            raise InputError(f"{name} was {found.get(name)!r} and is {ours!r} now")
