"""A run of training that lives in its state file, so that it can be interrupted and resumed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cbpnet.data.stream import Task, TaskStream, fingerprint_stream
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.method.config import ReadoutKind
from cbpnet.method.state import HostState
from cbpnet.run.previous_state import Say, state_exists, warn
from cbpnet.run.protocol import Contender, Learnt, TaskAccuracy
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import StateInfo, check_fit
from cbpnet.run.training import Progress

__all__ = ["StatefulContender", "TrainingSession"]


class StatefulContender(Contender, Protocol):
    """A contender whose state holds all that it has learnt."""

    stream: TaskStream
    seed: int
    readouts: Mapping[str, ReadoutKind]

    @property
    def state(self) -> HostState:
        """What has been learnt so far."""

    @property
    def settings(self) -> Mapping[str, object]:
        """What the state depends on beside learner and stream, by name."""

    def images_to_come(self, first: int | None = None) -> int:
        """Return the most images that `run_protocol` will count, with the same ``first``."""

    def go_on(self, state: HostState, finished: int) -> None:
        """Go on from a state after so many finished tasks."""


class TrainingSession:
    """A contender whose state is saved after each task, and that goes on from the file.

    Where the state file exists, the session goes on after its last finished task and ends in the
    same state, bit for bit, as one that was never interrupted (with the same number of threads on
    the same machine).

    ``identity`` says what states of the learner belong to; its class names and progress are
    replaced. ``arithmetic`` is what the backbone computes in, for instance "float32": a run is not
    resumed in another. ``say`` is told where the file is damaged and the one before it is gone on
    from.

    Attributes:
        contender: who learns.
        run: all that the state depends on beside the learner, by name.

    Raises:
        InputError: the learner's capacity is too small for the stream, or the file is no state or
            that of another run, which is named.
    """

    def __init__(
        self,
        path: Path,
        contender: StatefulContender,
        identity: StateInfo,
        arithmetic: str,
        say: Say = warn,
    ) -> None:
        stream = contender.stream
        _check_capacity("classes", identity.classes, len(stream.class_names))
        if not identity.config.one_pass:
            _check_capacity("tasks", identity.tasks, len(stream.tasks))
        self.path, self.contender, self.identity = path, contender, identity
        self.run: dict[str, Any] = {
            **contender.settings,
            "dtype": arithmetic,
            "classes of each task": [len(task.classes) for task in stream.tasks],
            "training images of each task": [len(task.train) for task in stream.tasks],
            "images": fingerprint_stream(stream),
        }
        if state_exists(path):
            contender.go_on(*self._resume(say))

    @property
    def finished(self) -> int:
        """The number of finished tasks."""
        return self.contender.finished

    def learn(self, task: Task, progress: Progress = lambda images: None) -> Learnt:
        """Learn the next task and save the state; after a failure nothing has been learnt."""
        before = self.contender.state, self.contender.finished
        try:
            learnt = self.contender.learn(task, progress)
            save_state(self.path, self.contender.state, self._info(self.finished))
        except BaseException:
            self.contender.go_on(*before)
            raise
        return learnt

    def classify(self, task: Task, progress: Progress = lambda images: None) -> TaskAccuracy:
        """Return how a finished task's test images are classified."""
        return self.contender.classify(task, progress)

    def _info(self, finished: int) -> StateInfo:
        stream = self.contender.stream
        known = sum(len(task.classes) for task in stream.tasks[:finished])
        return replace(
            self.identity,
            class_names=stream.class_names[:known],
            progress={"run": self.run, "finished": finished},
        )

    def _resume(self, say: Say) -> tuple[HostState, int]:
        """Return the saved state and the number of finished tasks."""
        state, info = load_state(self.path, say)
        try:
            check_fit(info, self._info(0))
            _check_run(info.progress.get("run"), self.run)
            finished = from_json(int, info.progress.get("finished"))
            _check_finished(finished, len(info.class_names), self.contender.stream)
        except InputError as error:
            raise InputError(
                f"{self.path} is of another run: {error}; repeat that run's command or name "
                "another file"
            ) from error
        return state, finished


def _check_capacity(name: str, capacity: int, needed: int) -> None:
    if capacity < needed:
        raise InputError(f"the capacity is {capacity} {name}; the tasks to learn need {needed}")


def _check_finished(finished: int, known: int, stream: TaskStream) -> None:
    sizes = [len(task.classes) for task in stream.tasks]
    if not 0 <= finished <= len(sizes) or sum(sizes[:finished]) != known:
        raise InputError(
            f"it knows {known} classes after {finished} finished tasks, which cannot be"
        )


def _check_run(found: object, expected: Mapping[str, object]) -> None:
    if not isinstance(found, dict):
        raise InputError("it does not say how it was trained")
    for name, ours in expected.items():
        if found.get(name) != ours:
            raise InputError(f"{name} was {found.get(name)!r} and is {ours!r} now")
