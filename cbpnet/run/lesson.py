"""A lesson of the one-pass learner: look, decide, perhaps adapt, and count.

A lesson's images go through the trunk once and are counted. Each is then classified by what is
known without it, which chooses the readout's prior. A lesson whose images are foreign to the
backbone trains the prompt, carries what was known over the change of the features, and looks at its
images once more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from cbpnet.data.preprocessing import Preprocessing
from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import AdaptationConfig
from cbpnet.method.layout import is_adapted
from cbpnet.method.learner_interface import Drift, OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.run.counting import (
    choose,
    count,
    forgotten,
    leave_one_out,
    linear_map,
    metric_of,
    together,
)
from cbpnet.run.remembered import LessonRows, Remembered, as_counted, picture_keys
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
    "ADAPTING",
    "Decision",
    "LessonOutcome",
    "Reason",
    "count_anew",
    "count_forwards",
    "learn_lesson",
    "look",
    "may_adapt",
]

Reason = Literal[
    "first",
    "always",
    "foreign",
    "familiar",
    "few classes",
    "outnumbered",
    "adapted before",
    "one class",
    "never",
]
ADAPTING = ("first", "always", "foreign")

_ASKED = 10  # every tenth image: a tenth of a pass more
_FEWEST_CLASSES = 2  # that a cross-entropy tells apart
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
        return self.reason in ADAPTING


@dataclass(frozen=True)
class LessonOutcome:
    """The state after a lesson, what was decided in it, and what a journal keeps of it.

    ``x`` [N, F] are the features that were counted. Where it adapted the features, ``adapted`` are
    the tensors that this changed, and ``drift`` what carried older statistics over it; both are
    empty otherwise.
    """

    state: HostState
    decision: Decision
    x: Array
    adapted: Mapping[str, Array]
    drift: Drift


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
    looked: Callable[[Array], object] = lambda x: None,
    start: HostState | None = None,
    remembered: Remembered | None = None,
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
        looked: is told the images' features [N, F] before.
        start: an initial state, whose prompt an adaptation starts from; default: today's prompt.
        remembered: earlier lessons, which choose the readout together with this one; without them
            it does, and what its images say is added to what earlier ones' did.

    Raises:
        InputError: a label is outside the learner's capacity.
    """
    check_labels(learner.classes, images.labels)
    keys = picture_keys(images.pixels)
    seen = partial(look, learner, preprocessing, progress=progress)
    x = seen(state, images)
    looked(x)
    counted = count(learner, state, x, images.labels)
    remembered = Remembered.nothing(state) if remembered is None else remembered
    rows = LessonRows(as_counted(x), images.labels, keys)
    counted = choose(learner, counted, remembered.joined(rows))
    decision = _decide(learner, state, counted, x, images, preprocessing, training, kept)
    decided(decision)
    adapted: dict[str, Array] = {}
    drift: Drift = {}
    if decision.adapts:
        if start is not None:
            counted = count(learner, start, seen(start, images), images.labels)
        lesson = int(state["lessons.count"].item()) + 1
        # Apart, so that the order of images does not depend on whether tokens are replaced.
        order, units = RandomStream(seed, lesson), RandomStream(seed, -lesson)
        adapted = _adapt(
            learner, counted, x, images, preprocessing, training, order, units, progress
        )
        moved = state.replace({**adapted, "lessons.adapted": state["lessons.adapted"] + 1})
        pairs = [_Pairs(x, seen(moved, images), None)]
        if kept is not None:
            pairs.append(_Pairs(seen(state, kept), seen(moved, kept), kept.labels))
        x = pairs[0].after
        drift = _drift(learner, pairs)
        if remembered.lessons:
            remembered = remembered.mapped(linear_map(learner, moved, drift))
        del counted  # which was of the features before, and takes memory that solving needs
        counted = count(learner, learner.carry(moved, drift), x, images.labels)
        rows = replace(rows, x=as_counted(x))
        counted = choose(learner, counted, remembered.joined(rows))
    solved, _ = learner.solve(counted, counted["readout.prior"], counted["readout.scale"])
    after = solved.replace({"lessons.count": state["lessons.count"] + 1})
    return LessonOutcome(after, decision, x, adapted, drift)


def count_forwards(images: int, decision: Decision) -> int:
    """Return what a lesson of so many images took, in forward passes of one image."""
    asked = 0 if decision.confidence is None else -(-images // _ASKED)
    return images + asked + decision.passes


def may_adapt(config: AdaptationConfig, classes: int, others: int, adapted: bool) -> bool:
    """Return whether a lesson of so many classes may adapt the features, before it is looked at.

    ``others`` counts the known classes that are not its own, ``adapted`` says whether an earlier
    lesson has adapted them.
    """
    return _reason(config, not adapted, classes, others) in (*ADAPTING, None)


def count_anew(
    learner: OnePassInterface,
    state: HostState,
    lessons: Iterable[LessonImages],
    preprocessing: Preprocessing,
    progress: Progress = lambda images: None,
) -> HostState:
    """Return a state that knows the images of these lessons alone, by the features as they are."""
    found = [(look(learner, preprocessing, state, one, progress), one.labels) for one in lessons]
    x, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    state = count(learner, forgotten(state), x, labels)
    everything = LessonRows(as_counted(x), labels, np.arange(len(labels), dtype=np.uint64))
    counted = choose(learner, state, Remembered.nothing(state).joined(everything))
    solved, _ = learner.solve(counted, counted["readout.prior"], counted["readout.scale"])
    return solved


def look(
    learner: OnePassInterface,
    preprocessing: Preprocessing,
    state: HostState,
    images: ShownImages,
    progress: Progress = lambda images: None,
) -> Array:
    """Return the features [N, F] of images, as they are counted."""
    found = []
    for rows in portions(np.arange(len(images.labels)), IMAGES_AT_ONCE):
        found.append(learner.features(state, images.batch(rows, preprocessing)))
        progress(len(rows))
    return as_counted(np.concatenate(found)).astype(np.float32)


@dataclass(frozen=True)
class _Pairs:
    """Features [N, F] of the same images before and after an adaptation.

    ``kept`` [N] are the classes of kept pictures, None for the lesson's own images.
    """

    before: Array
    after: Array
    kept: Array | None


def _decide(
    learner: OnePassInterface,
    state: HostState,
    counted: HostState,
    x: Array,
    images: LessonImages,
    preprocessing: Preprocessing,
    training: TrainingConfig,
    kept: ShownImages | None,
) -> Decision:
    """Return whether a lesson adapts the features: by what was ``counted``, its images included."""
    members = members_of(learner.classes, images.labels)
    metric = metric_of(learner, counted, counted["readout.prior"].item())
    sums = leave_one_out(learner, counted, metric, x, images.labels, members)
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
    return Decision(reason, accuracy, confidence, passes if reason in ADAPTING else 0)


def _reason(config: AdaptationConfig, first: bool, classes: int, others: int) -> Reason | None:
    """Return why a lesson does or does not adapt the features; None where its images decide."""
    if config.kind == "never":
        return "never"
    if classes < _FEWEST_CLASSES:
        return "one class"
    if config.kind == "always":
        return "always"
    if config.kind == "first":
        return "first" if first else "adapted before"
    if classes < config.fewest_classes:
        return "few classes"
    if classes < config.share * others:
        return "outnumbered"
    return "first" if first else None


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


def _drift(learner: OnePassInterface, pairs: Sequence[_Pairs]) -> Drift:
    """Return the sums over pairs, by which statistics are carried over a change of the features."""
    drift = learner.zero_drift()
    for known in pairs:
        kept, images = known.kept, len(known.before)
        weight = np.full(images, _LESSON_PAIR if kept is None else _KEPT_PAIR, np.float32)
        labels = np.full(images, _NOT_KEPT) if kept is None else kept
        for before, after, *few in together(known.before, known.after, weight, labels):
            drift = learner.compare(drift, before, after, *few)
    return drift
