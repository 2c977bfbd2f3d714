"""Counting images into a one-pass learner's statistics, and choosing the readout by leave-one-out.

What prior and scale the readout has, and where known images end, is judged by images that are
remembered, each classified without itself.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.method.layout import DRIFT_OF_CLASSES, part
from cbpnet.method.learner_interface import Drift, Evidence, Metric, OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.method.threshold import unknown_threshold
from cbpnet.run.copies import count_copies
from cbpnet.run.remembered import Remembered
from cbpnet.run.training import portions

__all__ = [
    "choose",
    "count",
    "drift_of_all",
    "forgotten",
    "heard",
    "leave_one_out",
    "linear_map",
    "metric_of",
    "together",
]

_DOUBT = 8.0  # nats, of a prior ten times smaller or larger than 1


def count(learner: OnePassInterface, state: HostState, x: Array, labels: Array) -> HostState:
    """Return the state with images counted."""
    for few, classes in together(x, labels):
        state = learner.observe(state, few, classes)
    return state


def leave_one_out(
    learner: OnePassInterface,
    state: HostState,
    metric: Metric,
    x: Array,
    labels: Array,
    members: Array,
    copies: Array | None = None,
) -> Evidence:
    """Return how counted images are classified among ``members`` [C] by what is known without.

    Each goes with so many ``copies`` [N]; by default alone.
    """
    sums = learner.zero_evidence()
    copies = np.ones(len(x), np.float32) if copies is None else copies
    for few, classes, alike in together(x, labels, copies):
        sums = learner.leave_one_out(state, metric, few, classes, members, sums, alike)
    return sums


def metric_of(learner: OnePassInterface, state: HostState, prior: float) -> Metric:
    """Return the metric of a state's statistics by a prior."""
    return learner.solve(state, _number(prior), _number(1))[1]


def choose(learner: OnePassInterface, state: HostState, remembered: Remembered) -> HostState:
    """Return the state with the prior and the scale that remembered images ask for.

    A prior other than 1 needs a little evidence. How sure answers may be, and where known images
    end, is judged by each image without those of its lesson that are nearly alike.
    """
    readout = learner.config.readout
    evidence, calibration, unknown = heard(learner, state, remembered)
    if unknown is None:  # no image can be left out
        return state
    evidence = remembered.evidence + evidence
    row = _likeliest(readout.priors, evidence)
    calibration = remembered.calibration + calibration
    chosen = {
        "readout.evidence": evidence,
        "readout.calibration": calibration,
        "readout.prior": _number(readout.priors[row]),
    }
    if calibration.any():  # not with one class, of which every answer is sure
        chosen["readout.scale"] = _number(readout.scales[int(calibration.argmax())])
    if readout.kind == "whitened":
        chosen["unknown.threshold"] = _number(unknown_threshold(*unknown))
    return state.replace(chosen)


def heard(
    learner: OnePassInterface, state: HostState, remembered: Remembered
) -> tuple[Array, Array, tuple[float, float, float] | None]:
    """Return what remembered images say: evidence, calibration, and their unknown scores.

    These are how many could be judged, and the sum of their scores and of their squares; None, and
    zeros before, where none could.
    """
    readout, known = learner.config.readout, (state["classes.count"] > 0).astype(np.float32)
    rows = remembered.sampled()
    pairs = list(zip(remembered.lessons, rows, strict=True))
    width = state["classes.mean"].shape[1]
    x = np.concatenate([np.zeros((0, width), np.float16), *(one.x[own] for one, own in pairs)])
    x = x.astype(np.float32)
    labels = np.concatenate([np.zeros(0, np.int64), *(one.labels[own] for one, own in pairs)])
    found = []
    for prior in readout.priors:
        sums = leave_one_out(learner, state, metric_of(learner, state, prior), x, labels, known)
        found.append(sums["likelihood"])
    evidence = np.stack(found)
    if not sums["count"].any():
        return evidence, evidence[0], None
    row = _likeliest(readout.priors, remembered.evidence + evidence)
    metric = metric_of(learner, state, readout.priors[row])
    copies = [
        count_copies(
            one.x.astype(np.float32), one.labels, state["classes.mean"], metric["inverse"]
        )[own]
        for one, own in pairs
        if len(own)
    ]
    sums = leave_one_out(learner, state, metric, x, labels, known, np.concatenate(copies))
    return evidence, sums["likelihood"], (sums["count"].item(), *sums["unknown"].tolist())


def linear_map(learner: OnePassInterface, state: HostState, drift: Mapping[str, Array]) -> Array:
    """Return the matrix [F, F] by which an adaptation carries features.

    Its rows go through as the means of classes without scatter and without kept pictures; ``state``
    is any of the learner's.
    """
    alone = drift_of_all(learner, drift)
    classes, width = state["classes.mean"].shape
    empty = {name: np.zeros_like(state[name]) for name in ("classes.count", "classes.scatter")}
    found = []
    for start in range(0, width, classes):
        mean = np.eye(classes, width, start, dtype=np.float32)
        carried = learner.carry(state.replace(empty | {"classes.mean": mean}), alone)
        found.append(carried["classes.mean"])
    return np.concatenate(found)[:width]


def drift_of_all(learner: OnePassInterface, drift: Mapping[str, Array]) -> Drift:
    """Return the sums over pairs of an adaptation, without those of single classes."""
    return learner.zero_drift() | {n: v for n, v in drift.items() if n not in DRIFT_OF_CLASSES}


def forgotten(state: HostState) -> HostState:
    """Return a state that knows no image, with the features as they are."""
    summed = ("readout.evidence", "readout.calibration")
    known = [name for name in state if part(name) == "classes" or name in summed]
    return state.replace({name: np.zeros_like(state[name]) for name in known})


def together(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield the same rows of several arrays, a portion at a time."""
    return zip(*map(portions, arrays), strict=True)


def _likeliest(priors: tuple[float, ...], evidence: Array) -> int:
    doubt = [_DOUBT * math.log10(prior) ** 2 for prior in priors]
    return int((evidence.max(axis=1) - np.array(doubt, np.float32)).argmax())


def _number(value: float) -> Array:
    return np.full(1, value, np.float32)
