"""Counting images into a one-pass learner's statistics, and choosing the readout by leave-one-out.

Features are counted as a journal keeps them, in fp16, so that to count them again from there gives
the same statistics. What prior and scale the readout has is judged by images that are classified
without themselves: by a lesson's own, whose evidence is summed over lessons, or by a sample of all
images that are remembered, which does not depend on the order in which they came.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from cbpnet.host.arrays import Array
from cbpnet.method.layout import part
from cbpnet.method.learner_interface import Drift, Evidence, OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.method.threshold import unknown_threshold
from cbpnet.run.training import portions

__all__ = [
    "SAMPLE",
    "Remembered",
    "as_counted",
    "carried_features",
    "choose",
    "count",
    "forgotten",
    "leave_one_out",
    "number",
    "picture_keys",
    "sample_of",
    "together",
]

SAMPLE = 200  # images that choose prior and scale
_DOUBT = 8.0  # nats, of a prior ten times smaller or larger than 1
_MOST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Remembered:
    """Counted images by their features x [N, F], fp32, ``labels`` [N] and ``keys`` [N].

    A key is a number that an image's pixels give: which images are sampled depends on them alone.
    ``evidence`` [priors, scales] is that of counted images that are not remembered.
    """

    x: Array
    labels: Array
    keys: npt.NDArray[np.uint64]
    evidence: Array

    def joined(self, x: Array, labels: Array, keys: npt.NDArray[np.uint64]) -> Self:
        """Return these images and others."""
        return replace(
            self,
            x=np.concatenate([self.x, x]),
            labels=np.concatenate([self.labels, labels]),
            keys=np.concatenate([self.keys, keys]),
        )

    def sample(self, most: int = SAMPLE) -> Self:
        """Return the images of the smallest keys."""
        rows = sample_of(self.keys, self.labels, most)
        return replace(self, x=self.x[rows], labels=self.labels[rows], keys=self.keys[rows])


def sample_of(keys: Array, labels: Array, most: int = SAMPLE) -> Array:
    """Return the places, in order, of the images with the smallest keys."""
    return np.sort(np.lexsort((labels, keys))[:most])


def as_counted(x: Array) -> npt.NDArray[np.float16]:
    """Return features as they are counted and kept."""
    return np.clip(x, -_MOST, _MOST).astype(np.float16)


def picture_keys(pixels: Array) -> npt.NDArray[np.uint64]:
    """Return a number for each of N pictures [N, ...], the same for the same pixels.

    It is the first 8 bytes of the pixels' SHA-256, as a little-endian number.
    """
    digests = [hashlib.sha256(picture.tobytes()).digest()[:8] for picture in pixels]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def count(learner: OnePassInterface, state: HostState, x: Array, labels: Array) -> HostState:
    """Return the state with images counted."""
    for few, classes in together(x, labels):
        state = learner.observe(state, few, classes)
    return state


def leave_one_out(
    learner: OnePassInterface,
    state: HostState,
    prior: Array,
    x: Array,
    labels: Array,
    members: Array,
) -> Evidence:
    """Return how counted images are classified among ``members`` [C] by what is known without."""
    _, metric = learner.solve(state, prior, number(1))
    sums = learner.zero_evidence()
    for few, classes in together(x, labels):
        sums = learner.leave_one_out(state, metric, few, classes, members, sums)
    return sums


def choose(
    learner: OnePassInterface, state: HostState, x: Array, labels: Array, evidence: Array
) -> HostState:
    """Return the state with the prior and the scale that counted images ask for.

    They also say where known images end. ``evidence`` is that of others; a prior other than 1 needs
    a little of it.
    """
    readout = learner.config.readout
    known = (state["classes.count"] > 0).astype(np.float32)
    found = [
        leave_one_out(learner, state, number(prior), x, labels, known) for prior in readout.priors
    ]
    evidence = evidence + np.stack([sums["likelihood"] for sums in found])
    if not evidence.any():  # no image so far could be left out
        return state
    doubt = [[_DOUBT * math.log10(prior) ** 2] for prior in readout.priors]
    likeliest = int((evidence - np.array(doubt, np.float32)).argmax())
    row, column = divmod(likeliest, len(readout.scales))
    chosen = {
        "readout.evidence": evidence,
        "readout.prior": number(readout.priors[row]),
        "readout.scale": number(readout.scales[column]),
    }
    if readout.kind == "whitened" and found[row]["count"] > 0:
        threshold = unknown_threshold(found[row]["count"].item(), *found[row]["unknown"].tolist())
        chosen["unknown.threshold"] = number(threshold)
    return state.replace(chosen)


def carried_features(learner: OnePassInterface, state: HostState, drift: Drift, x: Array) -> Array:
    """Return features [N, F] as the linear map of an adaptation carries them.

    They go through it as the means of classes without scatter and without kept pictures.
    """
    kept = {name: np.zeros_like(drift[name]) for name in ("count", "before", "after")}
    alone = dict(drift) | kept
    found = []
    for rows in np.split(x, range(len(state["classes.mean"]), len(x), len(state["classes.mean"]))):
        mean = np.zeros_like(state["classes.mean"])
        mean[: len(rows)] = rows
        means = {
            "classes.count": np.zeros_like(state["classes.count"]),
            "classes.mean": mean,
            "classes.scatter": np.zeros_like(state["classes.scatter"]),
        }
        found.append(learner.carry(state.replace(means), alone)["classes.mean"][: len(rows)])
    return np.concatenate(found)


def forgotten(state: HostState) -> HostState:
    """Return a state that knows no image, with the features as they are."""
    known = [name for name in state if part(name) == "classes" or name == "readout.evidence"]
    return state.replace({name: np.zeros_like(state[name]) for name in known})


def number(value: float) -> Array:
    """Return a number as a tensor of the state."""
    return np.full(1, value, np.float32)


def together(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield the same rows of several arrays, a portion at a time."""
    return zip(*map(portions, arrays), strict=True)
