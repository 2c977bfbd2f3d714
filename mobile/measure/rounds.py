"""A round of learning and classifying on random numbers, by a bundle of either kind."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.method.layout import methods_of
from cbpnet.method.state import HostState
from cbpnet.run.training import begin_task
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.device.program_steps import ProgramSteps
from mobile.measure.random_step import RandomStep, draw_random_step

__all__ = ["Call", "learn_and_classify", "steady_round", "stored_state"]

_Result = TypeVar("_Result")


class Call(Protocol):
    """Calls a function and takes note of it under a method's name."""

    def __call__(
        self, method: str, function: Callable[..., _Result], *arguments: object
    ) -> _Result: ...


def stored_state(program: Program) -> HostState:
    """Return the state that a bundle was exported with."""
    one_pass = program.manifest.config.one_pass
    return (OnePassProgram if one_pass else ProgramLearner)(program).stored_state()


def learn_and_classify(program: Program, state: HostState, call: Call) -> None:
    """Call every method once, as a device does, on a step of random numbers."""
    kind = _in_one_pass if program.manifest.config.one_pass else _in_a_task
    kind(program, state, call)


def steady_round(program: Program) -> Callable[[], object]:
    """Return what learns and classifies the images of a random step, the same every time.

    What is done once a lesson is not in it, nor is training where a one-pass learner never adapts.
    """
    step = draw_random_step(program)
    if not program.manifest.config.one_pass:
        learner = ProgramLearner(program)
        query = learner.query(step.images)
        begun = begin_task(learner, learner.stored_state(), 0, query, step.labels)

        def task_round() -> object:
            query = learner.query(step.images)
            learnt = _train(learner, begun, step, query, _only_call)
            return learner.predict(learnt, step.images, query)

        return task_round
    in_one_pass = OnePassProgram(program)
    state, trains = in_one_pass.stored_state(), "update" in methods_of(in_one_pass.config)
    dim = program.manifest.backbone.dim

    def one_pass_round() -> object:
        x = in_one_pass.features(state, step.images)
        counted = in_one_pass.observe(state, x, step.labels)
        if trains:
            begun = in_one_pass.begin_task(counted, step.members)
            _train(in_one_pass.adaptation, begun, step, x[:, :dim], _only_call)
        return in_one_pass.predict(counted, x)

    return one_pass_round


def _only_call(method: str, function: Callable[..., _Result], *arguments: object) -> _Result:
    return function(*arguments)


def _in_a_task(program: Program, state: HostState, call: Call) -> None:
    learner, step = ProgramLearner(program), draw_random_step(program)
    query = call("query", learner.query, step.images)
    state = call("observe", learner.observe, state, query, step.labels)
    state = call("begin_task", learner.begin_task, state, np.zeros(1, np.float32), step.members)
    state = _train(learner, state, step, query, call)
    call("predict", learner.predict, state, step.images, query)


def _in_one_pass(program: Program, state: HostState, call: Call) -> None:
    learner, step, one = OnePassProgram(program), draw_random_step(program), np.ones(1, np.float32)
    x = call("features", learner.features, state, step.images)
    state = call("observe", learner.observe, state, x, step.labels)
    state, metric = call("solve", learner.solve, state, one, one)
    counted = state, metric, x, step.labels, step.members, learner.zero_evidence()
    call("leave_one_out", learner.leave_one_out, *counted)
    if "update" in methods_of(learner.config):
        begun = call("begin_task", learner.begin_task, state, step.members)
        query = x[:, : program.manifest.backbone.dim]
        _train(learner.adaptation, begun, step, query, call)
        pairs = x, x, np.ones(len(x), np.float32), step.labels
        drift = call("compare", learner.compare, learner.zero_drift(), *pairs)
        state = call("carry", learner.carry, state, drift)
    call("predict", learner.predict, state, x)


def _train(
    learner: ProgramSteps, begun: HostState, step: RandomStep, query: Array, call: Call
) -> HostState:
    """Return the state after a step on the whole micro-batch."""
    shown = step.images, query, step.labels, learner.zero_sums()
    sums = call("gradients", learner.gradients, begun, *shown)
    return call("update", learner.update, begun, sums, step.noise, np.ones(1, np.float32))
