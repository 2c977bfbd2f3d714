"""A bundle of the one-pass learner beside the learner in PyTorch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.layout import methods_of
from cbpnet.method.one_pass import OnePassLearner
from cbpnet.method.state import LearnerState
from mobile.device.one_pass_program import OnePassProgram
from mobile.device.program import Program
from mobile.export.comparison import Agreement, Comparison, Patterns, furthest
from quantize.distance import flat_cosine

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
    bundle = OnePassProgram(program)
    images, labels, generator = patterns.images, patterns.labels, patterns.generator
    start = learner.initial_state(generator)
    with torch.no_grad():
        x = learner.features(start, images)
        known, scores = _count(bundle, learner, start, x, labels)
    cosine = flat_cosine(x, bundle.features(start, images)) if forward_runs else None
    if forward_runs:
        _check_confidence(bundle, learner, images)
    distance = furthest(scores, bundle.predict(known, x)[0])
    if "update" not in methods_of(learner.config):
        return Comparison(Agreement(cosine, distance, {}), {}, {}, known)
    members = torch.zeros(learner.classes).index_fill(0, labels.unique(), 1.0)
    with torch.no_grad():
        begun = learner.begin_task(known, members)
    _check_close("begin_task", bundle.begin_task(known, members), begun)
    query = x[:, : learner.backbone.dim]
    adaptation = learner.adaptation
    none = adaptation.zero_sums()
    expected = adaptation.gradients(begun, images, query, labels, none)
    found = bundle.adaptation.gradients(begun, images, query, labels, none)
    noise = torch.rand(adaptation.noise_shape, generator=generator)
    after = bundle.adaptation.update(begun, found, noise, torch.ones(1))
    with torch.no_grad():
        _check_close("update", after, adaptation.update(begun, found, noise, torch.ones(1)))
        moved = learner.features(known.replace({"prompts.g": after["prompts.g"]}), images)
        _carry(bundle, learner, known, x, moved, labels)
    gradients = {name: flat_cosine(expected[name], found[name]) for name in adaptation.trainables}
    return Comparison(Agreement(cosine, distance, gradients), begun, after, known)


def _check_confidence(bundle: OnePassProgram, learner: OnePassLearner, images: Tensor) -> None:
    with torch.no_grad():
        wanted = learner.confidence(images)
    found = bundle.confidence(images)
    if wanted is not None and found is not None:
        _check_close("features", {"confidence": found}, {"confidence": wanted}, _FURTHEST_SURE)


def _count(
    bundle: OnePassProgram, learner: OnePassLearner, start: LearnerState, x: Tensor, labels: Tensor
) -> tuple[LearnerState, Tensor]:
    """Return PyTorch's state that knows images, and its scores of them."""
    counted = learner.observe(start, x, labels)
    _check_close("observe", bundle.observe(start, x, labels), counted)
    numbers = start["readout.prior"], start["readout.scale"]
    known, metric = learner.solve(counted, *numbers)
    found, found_metric = bundle.solve(counted, *numbers)
    _check_close("solve", {**found_metric._asdict(), **found}, {**metric._asdict(), **known})
    rest = known, metric, x, labels, torch.ones(learner.classes), learner.zero_evidence()
    _check_close("leave_one_out", bundle.leave_one_out(*rest), learner.leave_one_out(*rest))
    return known, learner.predict(known, x)[0]


def _carry(
    bundle: OnePassProgram,
    learner: OnePassLearner,
    known: LearnerState,
    before: Tensor,
    after: Tensor,
    labels: Tensor,
) -> None:
    pairs = before, after, torch.ones(len(labels)), labels
    drift = learner.compare(learner.zero_drift(), *pairs)
    _check_close("compare", vars(bundle.compare(bundle.zero_drift(), *pairs)), vars(drift))
    _check_close("carry", bundle.carry(known, drift), learner.carry(known, drift))


def _check_close(
    method: str,
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    most: float = _FURTHEST,
) -> None:
    """Raise `InputError` where a tensor that a method gives is not PyTorch's."""
    for name, value in wanted.items():
        if not (found[name] - value).norm() <= most * value.norm():
            raise InputError(
                f"the exported program disagrees with PyTorch: {method} gives another {name}; "
                "nothing is written"
            )
