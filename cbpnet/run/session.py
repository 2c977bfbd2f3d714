"""A run of training that lives in its state file, so that it can be interrupted and resumed."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cbpnet.data.stream import TaskStream, fingerprint_stream
from cbpnet.host.errors import InputError
from cbpnet.method.config import ReadoutKind
from cbpnet.method.learner_interface import LearnerInterface
from cbpnet.method.state import LearnerState
from cbpnet.run.contender import LearnerContender
from cbpnet.run.state_file import load_state, save_state
from cbpnet.run.state_info import StateInfo, check_fit
from cbpnet.run.training import TrainingConfig

__all__ = ["TrainingSession"]


class TrainingSession(LearnerContender):
    """A contender that saves its state after each task and goes on from the file.

    Where the state file exists, the session goes on after its last finished task and ends in the
    same state, bit for bit, as one that was never interrupted (with the same number of threads on
    the same machine).

    ``identity`` says what states of this learner belong to; its class names and progress are
    replaced. ``arithmetic`` is what the backbone computes in, for instance "float32": a run is not
    resumed in another. ``readouts`` are the contender's.

    Attributes:
        run: all that the state depends on beside the learner, by name.

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
        readouts: Mapping[str, ReadoutKind],
    ) -> None:
        _check_capacity("classes", learner.classes, len(stream.class_names))
        _check_capacity("tasks", learner.tasks, len(stream.tasks))
        super().__init__(learner, stream, identity.preprocessing, training, seed, readouts)
        self.path, self.identity = path, identity
        self.run: dict[str, Any] = {
            "seed": seed,
            **asdict(training),
            "dtype": arithmetic,
            "classes of each task": [len(task.classes) for task in stream.tasks],
            "training images of each task": [len(task.train) for task in stream.tasks],
            "images": fingerprint_stream(stream),
        }
        if path.exists():
            self.state, self.finished = self._resume()

    def _accept(self, state: LearnerState, finished: int) -> None:
        save_state(self.path, state, self._info(finished))
        super()._accept(state, finished)

    def _info(self, finished: int) -> StateInfo:
        known = sum(len(task.classes) for task in self.stream.tasks[:finished])
        return replace(
            self.identity,
            class_names=self.stream.class_names[:known],
            progress={"run": self.run, "finished": finished},
        )

    def _resume(self) -> tuple[LearnerState, int]:
        """Return the saved state and the number of finished tasks."""
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
