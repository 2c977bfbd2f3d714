"""A bundle, run as a device runs it."""

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.step import Step
from benchmarks.worker import Operations
from mobile.program import Program, set_threads
from mobile.program_learner import ProgramLearner

__all__ = ["load", "start"]


def start(threads: int) -> None:
    """Start ExecuTorch's runtime; torch only computes what the delegates left."""
    torch.set_num_threads(1)
    set_threads(threads)


def load(step: Step, bundle: Path, variant: str) -> Operations:
    """Return the bundle's methods on a micro-batch."""
    learner = ProgramLearner(Program(bundle))
    empty = learner.zero_sums()
    last = {"sums": empty}

    def query(turn: int) -> dict[str, Tensor]:
        return {"query": learner.query(step.batch(turn)[0])}

    def predict(turn: int) -> dict[str, Tensor]:
        images, query, _ = step.batch(turn)
        return {"scores": learner.predict(step.state, images, query)[0]}

    def gradients(turn: int) -> dict[str, Tensor]:
        last["sums"] = learner.gradients(step.state, *step.batch(turn), empty)
        return last["sums"]

    def update(turn: int) -> dict[str, Tensor]:
        return dict(learner.update(step.state, last["sums"], step.noise, torch.ones(1)))

    return {"query": query, "predict": predict, "gradients": gradients, "update": update}
