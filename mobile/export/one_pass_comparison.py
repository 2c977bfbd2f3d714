"""A bundle of the one-pass learner beside the learner in PyTorch."""

from collections.abc import Mapping

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.eager import EagerOnePass
from cbpnet.method.layout import methods_of
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import HostState
from cbpnet.run.training import members_of
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.export.comparison import Agreement, Comparison, Patterns, cosine, furthest

__all__ = ["compare_one_pass"]

# Of a tensor's norm: closed forms are computed in fp32, by other kernels and in another order.
_FURTHEST = 1e-3
# How sure a classifier is goes through the trunk, in int8 or in what an accelerator has.
_FURTHEST_SURE = 0.2


def compare_one_pass(
    program: Program, learner: OnePassLearner, patterns: Patterns, forward_runs: bool
) -> Comparison:
    """Count, solve, predict and adapt, each of what PyTorch gives for it.

    Without `features` where ``forward_runs`` is false.

    Raises:
        InputError: what the program computes without the trunk, or how sure the classifier is,
            is not what PyTorch computes.
    """
    bundle, exact, one = OnePassProgram(program), EagerOnePass(learner), np.ones(1, np.float32)
    images, labels, stream = patterns.images, patterns.labels, patterns.stream
    start = exact.initial_state(stream)
    x = exact.features(start, images)
    known, scores = _count(bundle, exact, start, x, labels)
    alike = cosine(x, bundle.features(start, images)) if forward_runs else None
    if forward_runs:
        _check_confidence(bundle, exact, images)
    distance = furthest(scores, bundle.predict(known, x)[0])
    if "update" not in methods_of(learner.config):
        return Comparison(Agreement(alike, distance, {}), {}, {}, known)
    members = members_of(learner.classes, labels)
    begun = exact.begin_task(known, members)
    _check_close("begin_task", bundle.begin_task(known, members), begun)
    query = x[:, : learner.backbone.dim]
    none = exact.adaptation.zero_sums()
    expected = exact.adaptation.gradients(begun, images, query, labels, none)
    found = bundle.adaptation.gradients(begun, images, query, labels, none)
    noise = stream.uniform(*exact.adaptation.noise_shape)
    after = bundle.adaptation.update(begun, found, noise, one)
    _check_close("update", after, exact.adaptation.update(begun, found, noise, one))
    moved = exact.features(known.replace({"prompts.g": after["prompts.g"]}), images)
    _carry(bundle, exact, known, x, moved, labels)
    trainables = learner.adaptation.trainables
    gradients = {name: cosine(expected[name], found[name]) for name in trainables}
    return Comparison(Agreement(alike, distance, gradients), begun, after, known)


def _check_confidence(bundle: OnePassProgram, learner: EagerOnePass, images: Array) -> None:
    wanted = learner.confidence(images)
    found = bundle.confidence(images)
    if wanted is not None and found is not None:
        _check_close("features", {"confidence": found}, {"confidence": wanted}, _FURTHEST_SURE)


def _count(
    bundle: OnePassProgram, learner: EagerOnePass, start: HostState, x: Array, labels: Array
) -> tuple[HostState, Array]:
    """Return PyTorch's state that knows images, and its scores of them."""
    counted = learner.observe(start, x, labels)
    _check_close("observe", bundle.observe(start, x, labels), counted)
    numbers = start["readout.prior"], start["readout.scale"]
    known, metric = learner.solve(counted, *numbers)
    found, found_metric = bundle.solve(counted, *numbers)
    _check_close("solve", {**found_metric, **found}, {**metric, **known})
    rest = (
        known,
        metric,
        x,
        labels,
        members_of(learner.classes, np.arange(learner.classes)),
        learner.zero_evidence(),
    )
    _check_close("leave_one_out", bundle.leave_one_out(*rest), learner.leave_one_out(*rest))
    return known, learner.predict(known, x)[0]


def _carry(
    bundle: OnePassProgram,
    learner: EagerOnePass,
    known: HostState,
    before: Array,
    after: Array,
    labels: Array,
) -> None:
    pairs = before, after, np.ones(len(labels), np.float32), labels
    drift = learner.compare(learner.zero_drift(), *pairs)
    _check_close("compare", bundle.compare(bundle.zero_drift(), *pairs), drift)
    _check_close("carry", bundle.carry(known, drift), learner.carry(known, drift))


def _check_close(
    method: str,
    found: Mapping[str, Array],
    wanted: Mapping[str, Array],
    most: float = _FURTHEST,
) -> None:
    """Raise `InputError` where a tensor that a method gives is not PyTorch's."""
    for name, value in wanted.items():
        if np.isinf(value).all() and np.array_equal(found[name], value):
            continue  # a threshold of which nothing is known yet
        if not np.linalg.norm(found[name] - value) <= most * np.linalg.norm(value):
            raise InputError(
                f"the exported program disagrees with PyTorch: {method} gives another {name}; "
                "nothing is written"
            )
