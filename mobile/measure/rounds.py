"""A round of learning and classifying on random numbers, by a bundle of either kind."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from cbpnet.method.layout import methods_of
from cbpnet.method.state import HostState
from cbpnet.run.training import begin_task
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.device.program_learner import ProgramLearner
from mobile.measure.random_step import draw_random_step

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


def learn_and_classify(
    program: Program,
    state: HostState,
    call: Call,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Call every method once, as a device does, on a step of random numbers.

    ``between`` is called before training and after it.
    """
    kind = _in_one_pass if program.manifest.config.one_pass else _in_a_task
    kind(program, state, call, between)


def steady_round(program: Program) -> Callable[[], object]:
    """Return what learns and classifies the images of a random step, the same every time.

    A one-pass learner that never adapts has no training in it.
    """
    step, one = draw_random_step(program), np.ones(1, np.float32)
    if not program.manifest.config.one_pass:
        learner = ProgramLearner(program)
        query = learner.query(step.images)
        begun = begin_task(learner, learner.stored_state(), 0, query, step.labels)

        def task_round() -> object:
            query = learner.query(step.images)
            sums = learner.gradients(begun, step.images, query, step.labels, learner.zero_sums())
            learnt = learner.update(begun, sums, step.noise, one)
            return learner.predict(learnt, step.images, query)

        return task_round
    in_one_pass = OnePassProgram(program)
    state, steps = in_one_pass.stored_state(), in_one_pass.adaptation
    trains = "update" in methods_of(in_one_pass.config)
    query = np.zeros(
        (len(step.labels), program.manifest.backbone.dim), np.float32
    )  # which nothing reads

    def one_pass_round() -> object:
        x = in_one_pass.features(state, step.images)
        counted = in_one_pass.observe(state, x, step.labels)
        if trains:
            begun = in_one_pass.begin_task(counted, step.members)
            sums = steps.gradients(begun, step.images, query, step.labels, steps.zero_sums())
            steps.update(begun, sums, step.noise, one)
        return in_one_pass.predict(counted, x)

    return one_pass_round


def _in_a_task(program: Program, state: HostState, call: Call, between: Callable[[], None]) -> None:
    learner, step = ProgramLearner(program), draw_random_step(program)
    query = call("query", learner.query, step.images)
    between()
    state = call("observe", learner.observe, state, query, step.labels)
    state = call("begin_task", learner.begin_task, state, np.zeros(1, np.float32), step.members)
    empty = learner.zero_sums()
    sums = call("gradients", learner.gradients, state, step.images, query, step.labels, empty)
    state = call("update", learner.update, state, sums, step.noise, np.ones(1, np.float32))
    between()
    call("predict", learner.predict, state, step.images, query)


def _in_one_pass(
    program: Program, state: HostState, call: Call, between: Callable[[], None]
) -> None:
    learner, step, one = OnePassProgram(program), draw_random_step(program), np.ones(1, np.float32)
    x = call("features", learner.features, state, step.images)
    state = call("observe", learner.observe, state, x, step.labels)
    state, metric = call("solve", learner.solve, state, one, one)
    counted = state, metric, x, step.labels, step.members, learner.zero_evidence()
    call("leave_one_out", learner.leave_one_out, *counted)
    if "update" in methods_of(learner.config):
        between()
        begun = call("begin_task", learner.begin_task, state, step.members)
        steps, query = learner.adaptation, x[:, : program.manifest.backbone.dim]
        rest = step.images, query, step.labels, steps.zero_sums()
        sums = call("gradients", steps.gradients, begun, *rest)
        call("update", steps.update, begun, sums, step.noise, one)
        between()
        pairs = x, x, np.ones(len(x), np.float32), step.labels
        drift = call("compare", learner.compare, learner.zero_drift(), *pairs)
        state = call("carry", learner.carry, state, drift)
    call("predict", learner.predict, state, x)
