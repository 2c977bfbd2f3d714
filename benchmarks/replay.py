"""Lessons taught from features: what a device knows that was shown these images, without its trunk.

No lesson but the first adapts.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.adapted_features import AdaptedFeatures
from cbpnet.data.sampling import generator
from cbpnet.host.arrays import Array
from cbpnet.method.learner_interface import OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.run.counting import choose, count
from cbpnet.run.fold import Folded
from cbpnet.run.journal import Journal, Taught
from cbpnet.run.remembered import LessonRows, Remembered, as_counted

__all__ = [
    "area_under_roc",
    "calibration_error",
    "differences",
    "draw_keys",
    "learn",
    "lesson_of",
    "rows_of",
    "teach",
]


def draw_keys(data: AdaptedFeatures, seed: int) -> Array:
    """Return a number for each training image in place of `picture_keys`.

    Those with the smallest ones are the sample that judges; so a seed draws it.
    """
    return generator(seed, "pictures").integers(0, 2**64, len(data.labels), np.uint64)


def rows_of(labels: Array, classes: Sequence[int]) -> Array:
    """Return the rows of some classes, class after class."""
    return np.concatenate([np.flatnonzero(labels == label) for label in classes])


def lesson_of(
    data: AdaptedFeatures, rows: Array, names: Sequence[str], keys: Array, time: int
) -> Taught:
    """Return a lesson of training images under names, one for each row; ``time`` is its id, too."""
    classes = tuple(dict.fromkeys(names))
    labels = np.array([classes.index(name) for name in names], np.int32)
    return Taught(
        id=f"{time:016x}",
        time=time,
        source="",
        names=classes,
        counts=tuple(np.bincount(labels).tolist()),
        reason="adapted before",
        accuracy=None,
        labels=labels,
        pictures=keys[rows],
        x=as_counted(data.x[rows]),
        adapted={},
        drift={},
        kept=(),
    )


def teach(
    journal: Journal, data: AdaptedFeatures, classes: Sequence[int], keys: Array, time: int
) -> Journal:
    """Return the journal with a lesson of all training images of some classes."""
    rows = rows_of(data.labels, classes)
    names = [data.class_names[label] for label in data.labels[rows].tolist()]
    return journal.followed_by(lesson_of(data, rows, names, keys, time))


def learn(
    learner: OnePassInterface, state: HostState, remembered: Remembered, lesson: LessonRows
) -> HostState:
    """Return the state after a lesson that adapts nothing, as `learn_lesson` does."""
    counted = count(learner, state, lesson.x.astype(np.float32), lesson.labels)
    counted = choose(learner, counted, remembered.joined(lesson))
    solved, _ = learner.solve(counted, counted["readout.prior"], counted["readout.scale"])
    return solved.replace({"lessons.count": state["lessons.count"] + 1})


def differences(
    learner: OnePassInterface, one: Folded, other: Folded, x: Array
) -> Mapping[str, float]:
    """Return how much scores, probabilities and unknown scores of images differ at most.

    Both know the same classes, in whatever order.
    """
    places = [other.class_names.index(name) for name in one.class_names]
    scores, probabilities, unknown = learner.predict(one.state, x)
    found = learner.predict(other.state, x)
    known = len(places)
    return {
        "scores": _most(scores[:, :known] - found[0][:, places]),
        "probabilities": _most(probabilities[:, :known] - found[1][:, places]),
        "unknown": _most((unknown - found[2]) / np.abs(unknown).mean()),
        "threshold": _most(1 - one.state["unknown.threshold"] / other.state["unknown.threshold"]),
    }


def calibration_error(probabilities: Array, labels: Array, bins: int = 15) -> float:
    """Return the expected calibration error of answers [N, C], by bins of equal width."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    places = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [
        abs(float(right[places == place].sum()) - float(sure[places == place].sum()))
        for place in range(bins)
    ]
    return sum(gaps) / len(labels)


def area_under_roc(known: Array, others: Array) -> float:
    """Return how often an image of others has a higher unknown score than a known one."""
    wanted = np.repeat([0, 1], [len(known), len(others)])
    return float(roc_auc_score(wanted, np.concatenate([known, others])))


def _most(difference: Array) -> float:
    return float(np.abs(difference).max())
