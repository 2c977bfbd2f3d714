"""A bundle, run as a device runs it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.operations import METHODS, learner_operations
from benchmarks.step import Step
from benchmarks.worker import Operations
from cbpnet.method.state import HostState, LearnerState
from cbpnet.method.tensors import (
    array_of,
    arrays_of,
    as_arrays,
    as_tensors,
    tensor_of,
    tensors_of,
)
from mobile.device.program import Program, set_threads
from mobile.device.program_learner import ProgramLearner

__all__ = ["load", "start"]


def start(threads: int) -> None:
    """Start ExecuTorch's runtime."""
    set_threads(threads)


def load(step: Step, bundle: Path, variant: str) -> Operations:
    """Return the bundle's methods on a micro-batch."""
    program = Program(bundle)
    learner = ProgramLearner(program)
    methods = {name: partial(_on_tensors, getattr(learner, name)) for name in METHODS}
    return learner_operations(step, methods, tensors_of(learner.zero_sums()))


def _on_tensors(function: Callable[..., Any], *given: Any) -> Any:
    """Return what a function of arrays gives for tensors, as tensors."""
    return _tensors(function(*(_arrays(value) for value in given)))


def _arrays(value: Any) -> Any:
    if isinstance(value, LearnerState):
        return as_arrays(value)
    return arrays_of(value) if isinstance(value, dict) else array_of(value)


def _tensors(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_tensors(one) for one in value)
    if isinstance(value, HostState):
        return as_tensors(value)
    return tensors_of(value) if isinstance(value, dict) else tensor_of(value)
