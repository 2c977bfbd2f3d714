"""A bundle, run as a device runs it."""

from pathlib import Path

import torch

from benchmarks.operations import METHODS, learner_operations
from benchmarks.step import Step
from benchmarks.worker import Operations
from mobile.device.program import Program, set_threads
from mobile.device.program_learner import ProgramLearner

__all__ = ["load", "start"]


def start(threads: int) -> None:
    """Start ExecuTorch's runtime; torch only computes what the delegates left."""
    torch.set_num_threads(1)
    set_threads(threads)


def load(step: Step, bundle: Path, variant: str) -> Operations:
    """Return the bundle's methods on a micro-batch."""
    learner = ProgramLearner(Program(bundle))
    methods = {name: getattr(learner, name) for name in METHODS}
    return learner_operations(step, methods, learner.zero_sums())
