"""A lesson of the one-pass learner: look, decide, perhaps adapt, and count.

A lesson's images go through the trunk once and are counted. Each is then classified by what is
known without it, which chooses the readout's prior. A lesson whose images are foreign to the
backbone trains the prompt, carries what was known over the change of the features, and looks at its
images once more.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig
from cbpnet.method.layout import is_adapted, part
from cbpnet.method.learner_interface import Evidence, Metric, OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.method.threshold import unknown_threshold
from cbpnet.run.copies import count_copies
from cbpnet.run.training import (
    FORWARDS_OF_A_STEP,
    IMAGES_AT_ONCE,
    LessonImages,
    Progress,
    ShownImages,
    TaskImages,
    TrainingConfig,
    check_labels,
    members_of,
    portions,
    train,
)

__all__ = [
    "Decision",
    "LessonOutcome",
    "Reason",
    "count_anew",
    "count_forwards",
    "learn_lesson",
    "may_adapt",
]

Reason = Literal[
    "first", "always", "foreign", "familiar", "outnumbered", "adapted before", "one class", "never"
]
_ADAPTING = ("first", "always", "foreign")

_ASKED = 10  # every tenth image: a tenth of a pass more
_FEWEST_CLASSES = 2  # that a cross-entropy tells apart
_DOUBT = 8.0  # nats, of a prior ten times smaller or larger than 1
_LESSON_PAIR, _KEPT_PAIR = 0.3, 1.0  # what a pair of features counts in the map of the drift
_NOT_KEPT = -1


@dataclass(frozen=True)
class Decision:
    """Whether a lesson adapts the features, and why.

    ``accuracy`` in [0, 1] is the lesson's own, each image classified among the lesson's classes by
    what is known without it; None of one class, and where no class has two images. ``confidence``
    in [0, 1] is the pretrained classifier's on some of the images, None where it was not asked.
    ``passes`` is what is still to come, in passes forward or backward through the trunk.
    """

    reason: Reason
    accuracy: float | None
    confidence: float | None
    passes: int

    @property
    def adapts(self) -> bool:
        """Whether the features are adapted."""
        return self.reason in _ADAPTING


@dataclass(frozen=True)
class LessonOutcome:
    """The state after a lesson, and what was decided in it."""

    state: HostState
    decision: Decision


def learn_lesson(
    learner: OnePassInterface,
    state: HostState,
    images: LessonImages,
    preprocessing: Preprocessing,
    training: TrainingConfig,
    seed: int,
    kept: ShownImages | None = None,
    progress: Progress = lambda images: None,
    decided: Callable[[Decision], object] = lambda decision: None,
    between: Callable[[], object] = lambda: None,
    start: HostState | None = None,
) -> LessonOutcome:
    """Return the state after a lesson; no image of it has been counted before.

    Args:
        learner: in PyTorch or as a bundle's program.
        state: what is known so far.
        images: of known classes and of new ones.
        preprocessing: how pixels are normalised.
        training: of an adaptation.
        seed: of an adaptation's order; the number of lessons so far joins it.
        kept: pictures of old classes, on which an adaptation's drift is measured.
        progress: counts images that went through the trunk, forward or both ways.
        decided: is told the decision once the images have been looked at.
        between: is called when the lesson turns from looking at images to counting them, to
            training on them or to carrying over: what does the one is of no use to the other.
        start: an initial state, whose prompt an adaptation starts from; default: today's prompt.

    Raises:
        InputError: a label is outside the learner's capacity.
    """
    check_labels(learner.classes, images.labels)
    look = partial(_look, learner, preprocessing, progress)
    x = look(state, images)
    between()
    counted = _count(learner, state, x, images.labels)
    counted, metric = _choose(learner, counted, x, images.labels)
    decision = _decide(learner, state, counted, metric, x, images, preprocessing, training, kept)
    decided(decision)
    if decision.adapts:
        begun = counted
        if start is not None:
            begun = _count(learner, start, look(start, images), images.labels)
        between()
        lesson = int(state["lessons.count"].item()) + 1
        # Apart, so that the order of images does not depend on whether tokens are replaced.
        order, units = RandomStream(seed, lesson), RandomStream(seed, -lesson)
        adapted = _adapt(learner, begun, x, images, preprocessing, training, order, units, progress)
        between()
        moved = state.replace({**adapted, "lessons.adapted": state["lessons.adapted"] + 1})
        pairs = [_Pairs(x, look(moved, images), None)]
        if kept is not None:
            pairs.append(_Pairs(look(state, kept), look(moved, kept), kept.labels))
        between()
        x = pairs[0].after
        carried = _carried(learner, moved, pairs)
        between()
        counted = _count(learner, carried, x, images.labels)
        counted, _ = _choose(learner, counted, x, images.labels)
    solved, _ = learner.solve(counted, counted["readout.prior"], counted["readout.scale"])
    between()
    return LessonOutcome(solved.replace({"lessons.count": state["lessons.count"] + 1}), decision)


def count_forwards(images: int, decision: Decision) -> int:
    """Return what a lesson of so many images took, in forward passes of one image."""
    asked = 0 if decision.confidence is None else -(-images // _ASKED)
    return images + asked + decision.passes


def may_adapt(config: AdaptationConfig, classes: int, others: int, adapted: bool) -> bool:
    """Return whether a lesson of so many classes may adapt the features, before it is looked at.

    ``others`` counts the known classes that are not its own, ``adapted`` says whether an earlier
    lesson has adapted them.
    """
    return _reason(config, not adapted, classes, others) in (*_ADAPTING, None)


def count_anew(
    learner: OnePassInterface,
    state: HostState,
    lessons: Iterable[LessonImages],
    preprocessing: Preprocessing,
    progress: Progress = lambda images: None,
) -> HostState:
    """Return a state that knows the images of these lessons alone, by the features as they are."""
    found = [(_look(learner, preprocessing, progress, state, one), one.labels) for one in lessons]
    x, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    summed = ("readout.evidence", "readout.calibration")
    known = [name for name in state if part(name) == "classes" or name in summed]
    state = state.replace({name: np.zeros_like(state[name]) for name in known})
    counted, _ = _choose(learner, _count(learner, state, x, labels), x, labels)
    solved, _ = learner.solve(counted, counted["readout.prior"], counted["readout.scale"])
    return solved


@dataclass(frozen=True)
class _Pairs:
    """Features [N, F] of the same images before and after an adaptation.

    ``kept`` [N] are the classes of kept pictures, None for the lesson's own images.
    """

    before: Array
    after: Array
    kept: Array | None


def _look(
    learner: OnePassInterface,
    preprocessing: Preprocessing,
    progress: Progress,
    state: HostState,
    images: ShownImages,
) -> Array:
    """Return the features [N, F] of images."""
    found = []
    for rows in portions(np.arange(len(images.labels)), IMAGES_AT_ONCE):
        found.append(learner.features(state, images.batch(rows, preprocessing)))
        progress(len(rows))
    return np.concatenate(found)


def _together(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Yield the same rows of several arrays, a portion at a time."""
    return zip(*map(portions, arrays), strict=True)


def _count(learner: OnePassInterface, state: HostState, x: Array, labels: Array) -> HostState:
    for few, classes in _together(x, labels):
        state = learner.observe(state, few, classes)
    return state


def _evidence(
    learner: OnePassInterface,
    state: HostState,
    x: Array,
    labels: Array,
    metric: Metric,
    members: Array,
    copies: Array,
) -> Evidence:
    """Return how counted images are classified among ``members`` [C] by what is known without.

    Each goes with so many ``copies`` [N].
    """
    sums = learner.zero_evidence()
    for few, classes, alike in _together(x, labels, copies):
        sums = learner.leave_one_out(state, metric, few, classes, members, sums, alike)
    return sums


def _choose(
    learner: OnePassInterface, state: HostState, x: Array, labels: Array
) -> tuple[HostState, Metric]:
    """Return the state with the prior and the scale that images so far ask for, and its metric.

    The evidence is summed over lessons; a prior other than 1 needs a little of it. How sure answers
    may be, and where known images end, is judged by images without those that are nearly alike:
    the latter by this lesson's alone.
    """
    readout = learner.config.readout
    known = (state["classes.count"] > 0).astype(np.float32)
    metrics = [_metric(learner, state, _number(prior)) for prior in readout.priors]
    alone = np.ones(len(x), np.float32)
    found = [_evidence(learner, state, x, labels, metric, known, alone) for metric in metrics]
    if not found[0]["count"].any():  # no image of the lesson can be left out
        return state, _metric(learner, state, state["readout.prior"])
    evidence = state["readout.evidence"] + np.stack([sums["likelihood"] for sums in found])
    doubt = [_DOUBT * math.log10(prior) ** 2 for prior in readout.priors]
    row = int((evidence.max(axis=1) - np.array(doubt, np.float32)).argmax())
    copies = count_copies(x, labels, state["classes.mean"], metrics[row]["inverse"])
    sums = _evidence(learner, state, x, labels, metrics[row], known, copies)
    calibration = state["readout.calibration"] + sums["likelihood"]
    chosen = {
        "readout.evidence": evidence,
        "readout.calibration": calibration,
        "readout.prior": _number(readout.priors[row]),
    }
    if calibration.any():  # not with one class, of which every answer is sure
        chosen["readout.scale"] = _number(readout.scales[int(calibration.argmax())])
    if readout.kind == "whitened":
        threshold = unknown_threshold(sums["count"].item(), *sums["unknown"].tolist())
        chosen["unknown.threshold"] = _number(threshold)
    return state.replace(chosen), metrics[row]


def _metric(learner: OnePassInterface, state: HostState, prior: Array) -> Metric:
    return learner.solve(state, prior, _number(1))[1]


def _number(value: float) -> Array:
    return np.full(1, value, np.float32)


def _decide(
    learner: OnePassInterface,
    state: HostState,
    counted: HostState,
    metric: Metric,
    x: Array,
    images: LessonImages,
    preprocessing: Preprocessing,
    training: TrainingConfig,
    kept: ShownImages | None,
) -> Decision:
    """Return whether a lesson adapts the features: by what was ``counted``, its images included."""
    members = members_of(learner.classes, images.labels)
    alone = np.ones(len(x), np.float32)
    sums = _evidence(learner, counted, x, images.labels, metric, members, alone)
    told_apart = sums["count"] > 0 and members.sum() >= _FEWEST_CLASSES
    accuracy = float((sums["right"] / sums["count"])[0]) if told_apart else None
    first = bool(state["lessons.adapted"] == 0)
    others = int(((state["classes.count"] > 0) & (members == 0)).sum())
    reason = _reason(learner.config.adaptation, first, int(members.sum()), others)
    confidence = None
    if reason is None:
        confidence = _confidence(learner, images, preprocessing)
        reason = (
            "foreign"
            if _is_foreign(learner.config.adaptation, confidence, accuracy)
            else "familiar"
        )
    seen = len(images.labels)
    passes = (FORWARDS_OF_A_STEP * training.epochs + 1) * seen
    passes += 2 * (0 if kept is None else len(kept.labels))
    return Decision(reason, accuracy, confidence, passes if reason in _ADAPTING else 0)


def _reason(config: AdaptationConfig, first: bool, classes: int, others: int) -> Reason | None:
    """Return why a lesson does or does not adapt the features; None where its images decide."""
    if config.kind == "never":
        return "never"
    if classes < _FEWEST_CLASSES:
        return "one class"
    if config.kind == "always":
        return "always"
    if first:
        return "first"
    if config.kind == "first":
        return "adapted before"
    return "outnumbered" if classes < config.share * others else None


def _confidence(
    learner: OnePassInterface, images: LessonImages, preprocessing: Preprocessing
) -> float | None:
    """Return how sure the pretrained classifier is of every tenth image, on average."""
    order = images.labels.argsort(kind="stable")  # so that every class is asked about
    found = []
    for rows in portions(order[::_ASKED], IMAGES_AT_ONCE):
        sure = learner.confidence(images.batch(rows, preprocessing))
        if sure is None:
            return None
        found.append(sure)
    return float(np.concatenate(found).mean())


def _is_foreign(config: AdaptationConfig, confidence: float | None, accuracy: float | None) -> bool:
    if confidence is not None:
        return confidence < config.confidence
    return accuracy is not None and accuracy < config.accuracy


def _adapt(
    learner: OnePassInterface,
    counted: HostState,
    x: Array,
    images: LessonImages,
    preprocessing: Preprocessing,
    training: TrainingConfig,
    order: RandomStream,
    units: RandomStream,
    progress: Progress,
) -> dict[str, Array]:
    """Return what an adaptation to a lesson changes in the state."""
    start = learner.begin_task(counted, members_of(learner.classes, images.labels))
    task = TaskImages(images.pixels, images.labels, x[:, : start["prompts.g"].shape[-1]])
    adapted = train(
        learner.adaptation, start, task, preprocessing, training, order, progress, units
    )
    return {name: value for name, value in adapted.items() if is_adapted(name)}


def _carried(learner: OnePassInterface, state: HostState, pairs: Sequence[_Pairs]) -> HostState:
    """Return a state whose statistics are carried over a change of the features."""
    drift = learner.zero_drift()
    for known in pairs:
        kept, images = known.kept, len(known.before)
        weight = np.full(images, _LESSON_PAIR if kept is None else _KEPT_PAIR, np.float32)
        labels = np.full(images, _NOT_KEPT) if kept is None else kept
        for before, after, *few in _together(known.before, known.after, weight, labels):
            drift = learner.compare(drift, before, after, *few)
    return learner.carry(state, drift)
