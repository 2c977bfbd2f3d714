"""The class-incremental protocol on a bundle, interruptible after every task.

For each seed the folder holds the state after the last finished task and a row of accuracies for
each task, from which an interrupted evaluation goes on.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from cbpnet.data.stream import TaskStream
from cbpnet.host.atomic import write_atomically
from cbpnet.host.errors import InputError
from cbpnet.host.memory import peak_rss_mb
from cbpnet.method.config import ReadoutKind
from cbpnet.run.metrics import RunResult
from cbpnet.run.session import TrainingSession
from cbpnet.run.training import Progress, TrainingConfig
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner

__all__ = ["BundleEvaluation"]


@dataclass(frozen=True)
class _Row:
    """What was measured after one task; lists are by task.

    ``train_seconds`` is None where the process that learnt the task was stopped before this.
    """

    accuracy: dict[ReadoutKind, list[float]]
    selection: list[float]
    train_seconds: float | None
    eval_seconds: float


class BundleEvaluation:
    """A bundle's learner on the stream of one seed, from a state that knows nothing.

    The initial state is drawn from the seed as PyTorch's learner draws it.

    Raises:
        InputError: the bundle's capacity is too small for the stream, a task has no test image, or
            the files in ``folder`` are those of another run.
    """

    def __init__(
        self,
        program: Program,
        stream: TaskStream,
        training: TrainingConfig,
        seed: int,
        folder: Path,
    ) -> None:
        self._manifest = program.manifest
        self._seed, self._stream = seed, stream
        self._tests = tuple(len(task.test) for task in stream.tasks)
        if 0 in self._tests:
            raise InputError(
                f"task {self._tests.index(0) + 1} of {len(self._tests)} has no test image; an "
                "evaluation needs one in each task"
            )
        self._arithmetic = f"{program.manifest.target} {program.manifest.precision}"
        self._session = TrainingSession(
            folder / f"state-seed{seed}.safetensors",
            ProgramLearner(program),
            program.manifest.state_info((), {}),
            self._arithmetic,
            stream,
            training,
            seed,
        )
        self._path = folder / f"rows-seed{seed}.json"
        self._rows = self._read_rows()

    @property
    def images_to_come(self) -> int:
        """How many images `run` will report as its progress."""
        learnt = self._session.images_to_come
        unseen = len(self._rows) < self._session.finished  # learnt, and stopped before its row
        return learnt + unseen * 2 * sum(self._tests[: self._session.finished])

    def run(self, progress: Progress) -> list[RunResult]:
        """Learn and test task after task; return a result for the network and one with readout."""
        while len(self._rows) < len(self._stream.tasks):
            seconds = None
            start = time.perf_counter()
            if self._session.finished == len(self._rows):
                self._session.learn_next(progress)
                seconds = time.perf_counter() - start
            middle = time.perf_counter()
            found = self._session.evaluate(self._readouts, progress).values()
            self._rows.append(
                _Row(
                    {kind: [task.accuracy[kind] for task in found] for kind in self._readouts},
                    [task.selection for task in found],
                    seconds,
                    time.perf_counter() - middle,
                )
            )
            content = json.dumps([vars(row) for row in self._rows], indent=1)
            write_atomically(self._path, content.encode())
        return [self._result(kind) for kind in self._readouts]

    @property
    def _readouts(self) -> list[ReadoutKind]:
        readouts: list[ReadoutKind] = ["none", self._manifest.config.readout.kind]
        return list(dict.fromkeys(readouts))

    def _result(self, kind: ReadoutKind) -> RunResult:
        tasks, config = len(self._stream.tasks), self._manifest.config
        matrix = np.full((tasks, tasks), np.nan)
        for number, row in enumerate(self._rows):
            matrix[number, : number + 1] = row.accuracy[kind]
        learnt = "cbpnet" if config.block is not None else "dualprompt"
        measured = [row.train_seconds for row in self._rows if row.train_seconds is not None]
        return RunResult(
            method=f"{learnt}{'' if kind == 'none' else '+' + kind}, {self._arithmetic}",
            seed=self._seed,
            matrix=matrix,
            test_images=self._tests,
            prompt_selection=float(np.average(self._rows[-1].selection, weights=self._tests))
            if config.prompts.e_layers
            else None,
            # A task whose time is lost is taken to have been like the others.
            train_seconds=fmean(measured) * tasks if measured else float("nan"),
            eval_seconds=sum(row.eval_seconds for row in self._rows),
            peak_rss_mb=peak_rss_mb(),
            trainable_share=self._manifest.trainable_fraction,
            extra={"micro_batch": self._manifest.micro_batch},
        )

    def _read_rows(self) -> list[_Row]:
        finished = self._session.finished
        content: Any = []
        try:
            if self._path.exists():
                content = json.loads(self._path.read_text())
            rows = [_Row(**row) for row in content]
        except (OSError, TypeError, ValueError) as error:
            raise InputError(
                f"{self._path} does not hold an evaluation's rows ({error}); delete it and "
                f"{self._session.path} to start anew"
            ) from error
        if len(rows) not in (finished, finished - 1):
            raise InputError(
                f"{self._path} has the rows of {len(rows)} tasks and {self._session.path} has "
                f"learnt {finished}; delete both to start anew"
            )
        return rows
