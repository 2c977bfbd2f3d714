"""The class-incremental protocol on a bundle, interruptible after every task.

For each seed the folder holds the state after the last finished task and the outcomes of all tasks
so far, from which an interrupted evaluation goes on.
"""

from dataclasses import asdict, replace
from pathlib import Path

from cbpnet.data.stream import TaskStream
from cbpnet.host.errors import InputError
from cbpnet.method.config import ReadoutKind
from cbpnet.run.metrics import RunResult
from cbpnet.run.protocol import ProtocolRecord, check_every_task_is_tested, run_protocol
from cbpnet.run.result_store import ResultStore
from cbpnet.run.session import TrainingSession
from cbpnet.run.training import Progress, TrainingConfig
from mobile.device.bundle import Manifest
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner

__all__ = ["BundleEvaluation"]


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
        check_every_task_is_tested(stream)
        self._manifest = program.manifest
        arithmetic = f"{program.manifest.target} {program.manifest.precision}"
        self._session = TrainingSession(
            folder / f"state-seed{seed}.safetensors",
            ProgramLearner(program),
            program.manifest.state_info((), {}),
            arithmetic,
            stream,
            training,
            seed,
            _methods(program.manifest, arithmetic),
        )
        settings = {"learner": asdict(self._session.identity), **self._session.run}
        self._store = ResultStore(folder, settings, ProtocolRecord)
        self._name = f"outcomes-seed{seed}"
        self._record = self._store.find(self._name) or ProtocolRecord(())
        self._check_record()

    @property
    def images_to_come(self) -> int:
        """How many images `run` will report as its progress."""
        return self._session.images_to_come(len(self._record.outcomes))

    def run(self, progress: Progress) -> list[RunResult]:
        """Learn and test task after task; return a result for the network and one with readout."""
        session, first = self._session, len(self._record.outcomes)
        for outcome in run_protocol(session, session.stream, progress, first):
            self._record = ProtocolRecord((*self._record.outcomes, outcome))
            self._store.keep(self._name, self._record)
        return [
            replace(
                self._record.result(method, session.stream, session.seed),
                trainable_share=self._manifest.trainable_fraction,
                extra={"micro_batch": self._manifest.micro_batch},
            )
            for method in session.readouts
        ]

    def _check_record(self) -> None:
        tested, learnt = len(self._record.outcomes), self._session.finished
        if tested not in (learnt, learnt - 1):
            raise InputError(
                f"{self._store.path(self._name)} has the outcomes of {tested} tasks and "
                f"{self._session.path} has learnt {learnt}; delete both to start anew"
            )


def _methods(manifest: Manifest, arithmetic: str) -> dict[str, ReadoutKind]:
    """Return what the network alone and with its readout are called."""
    learner = "cbpnet" if manifest.config.block is not None else "dualprompt"
    kinds: list[ReadoutKind] = ["none", manifest.config.readout.kind]
    return {
        f"{learner}{'' if kind == 'none' else '+' + kind}, {arithmetic}": kind for kind in kinds
    }
