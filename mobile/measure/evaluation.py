"""The class-incremental protocol on a bundle, interruptible after every task.

For each seed the folder holds the state after the last finished task and the outcomes of all tasks
so far, from which an interrupted evaluation goes on.
"""

from dataclasses import asdict, replace
from pathlib import Path

from cbpnet.data.stream import TaskStream
from cbpnet.host.errors import InputError
from cbpnet.method.config import ReadoutKind
from cbpnet.run.contender import LearnerContender
from cbpnet.run.metrics import RunResult
from cbpnet.run.one_pass_contender import OnePassContender
from cbpnet.run.protocol import ProtocolRecord, check_every_task_is_tested, run_protocol
from cbpnet.run.result_store import ResultStore
from cbpnet.run.session import StatefulContender, TrainingSession
from cbpnet.run.training import Progress, TrainingConfig
from mobile.device.manifest import Manifest
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner

__all__ = ["BundleEvaluation"]

# As the benchmark calls the learners in PyTorch.
_ONE_PASS = {
    "auto": "one-pass",
    "first": "adapt-first",
    "always": "adapt-always",
    "never": "adapt-never",
}


class BundleEvaluation:
    """A bundle's learner on the stream of one seed, from a state that knows nothing.

    A one-pass learner keeps ``keep`` pictures of each class. The initial state is drawn from the
    seed as PyTorch's learner draws it.

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
        keep: int = 0,
    ) -> None:
        check_every_task_is_tested(stream)
        self._manifest = manifest = program.manifest
        arithmetic = f"{manifest.target} {manifest.precision}"
        rest = stream, manifest.preprocessing, training, seed, _methods(manifest, arithmetic)
        self._contender: StatefulContender
        if manifest.config.one_pass:
            self._contender = OnePassContender(OnePassProgram(program), *rest, keep)
        else:
            self._contender = LearnerContender(ProgramLearner(program), *rest)
        path = folder / f"state-seed{seed}.safetensors"
        identity = manifest.state_info((), {})
        self._session = TrainingSession(path, self._contender, identity, arithmetic)
        settings = {"learner": asdict(self._session.identity), **self._session.run}
        self._store = ResultStore(folder, settings, ProtocolRecord)
        self._name = f"outcomes-seed{seed}"
        self._record = self._store.find(self._name) or ProtocolRecord(())
        self._check_record()

    @property
    def images_to_come(self) -> int:
        """How many images `run` will report as its progress."""
        return self._contender.images_to_come(len(self._record.outcomes))

    def run(self, progress: Progress) -> list[RunResult]:
        """Learn and test task after task; return a result for each readout of the bundle.

        CBPNet's are the network alone and with its readout.
        """
        stream, first = self._contender.stream, len(self._record.outcomes)
        for outcome in run_protocol(self._session, stream, progress, first):
            self._record = ProtocolRecord((*self._record.outcomes, outcome))
            self._store.keep(self._name, self._record)
        return [
            replace(
                self._record.result(method, stream, self._contender.seed),
                trainable_share=self._manifest.trainable_fraction,
                extra={"micro_batch": self._manifest.micro_batch},
            )
            for method in self._contender.readouts
        ]

    def _check_record(self) -> None:
        tested, learnt = len(self._record.outcomes), self._session.finished
        if tested not in (learnt, learnt - 1):
            raise InputError(
                f"{self._store.path(self._name)} has the outcomes of {tested} tasks and "
                f"{self._session.path} has learnt {learnt}; delete both to start anew"
            )


def _methods(manifest: Manifest, arithmetic: str) -> dict[str, ReadoutKind]:
    """Return what the learner is called with each readout that the bundle has."""
    config = manifest.config
    own = config.readout.kind
    if config.one_pass:
        name = _ONE_PASS[config.adaptation.kind]
        return {f"{name}{'' if own == 'whitened' else '+' + own}, {arithmetic}": own}
    learner = "cbpnet" if config.block is not None else "dualprompt"
    kinds: list[ReadoutKind] = ["none", own]
    return {
        f"{learner}{'' if kind == 'none' else '+' + kind}, {arithmetic}": kind for kind in kinds
    }
