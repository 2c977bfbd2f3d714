"""Knowledge as a fold over a journal: the same statistics, however they came about.

Lessons are counted again from the features that were counted when they were learnt, in the same
order; where one adapted the features, its prompt is put in place and older statistics are carried
over by the sums that were kept of it. So a fold over the first lessons is, bit for bit, the state
that they left; and a correction leaves what is known had it been right from the start, but for the
prompts, which stay as they were learnt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.layout import DRIFT_OF_CLASSES
from cbpnet.method.learner_interface import Drift, OnePassInterface
from cbpnet.method.state import HostState
from cbpnet.run.counting import choose, count, drift_of_all, heard, linear_map
from cbpnet.run.journal import Edit, Journal, Rows, resolve
from cbpnet.run.remembered import LessonRows, Remembered

__all__ = ["Folded", "bounded", "drift_to_keep", "fold", "purged", "remember"]

_LEFT = 0.75  # of the limit, so that not every lesson has to settle another


@dataclass(frozen=True)
class Folded:
    """A state, and the classes that it knows by number."""

    state: HostState
    class_names: tuple[str, ...]


def fold(learner: OnePassInterface, journal: Journal) -> Folded:
    """Return what is known by the events of a journal that are in force.

    Raises:
        InputError: there is no room for its classes.
    """
    if journal.rests_on_base:
        return Folded(_solved(learner, journal.base), journal.base_names)
    base, lessons = resolve(journal)
    names = _numbered(base, lessons)
    if len(names) > learner.classes:
        raise InputError(
            f"the journal has {len(names)} classes and there is room for {learner.classes}; forget "
            "some, or export with more --classes"
        )
    state = _counted(learner, _base(journal, base), lessons, names)
    state = choose(learner, state, remember(learner, journal))
    solved, _ = learner.solve(state, state["readout.prior"], state["readout.scale"])
    return Folded(solved, tuple(names))


def remember(learner: OnePassInterface, journal: Journal) -> Remembered:
    """Return what a journal's lessons are by today's features."""
    base, lessons = resolve(journal)
    return _remembered(learner, journal, lessons, _numbered(base, lessons))


def _remembered(
    learner: OnePassInterface,
    journal: Journal,
    lessons: Sequence[Rows],
    names: Mapping[str, int],
) -> Remembered:
    found = Remembered.nothing(journal.base)
    for one in lessons:
        if one.lesson.drift and found.lessons:
            found = found.mapped(linear_map(learner, journal.base, one.lesson.drift))
        labels = np.array([names[name] for name in one.names], np.int64)
        lesson = one.lesson
        found = found.joined(
            LessonRows(lesson.x[one.numbers], labels, lesson.pictures[one.numbers])
        )
    return replace(found, lessons=tuple(one for one in found.lessons if len(one.labels)))


def drift_to_keep(
    before: HostState, names: Sequence[str], drift: Drift
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return what a journal keeps of the sums that an adaptation was carried over by.

    That is nothing where nothing was known ``before``. ``names`` are the known classes, by number;
    those with kept pictures are returned, and the sums by class have rows for them alone.
    """
    if not drift or not before["classes.count"].any():
        return {}, ()
    rows = np.flatnonzero(drift["count"])
    kept = {n: v[rows] if n in DRIFT_OF_CLASSES else v for n, v in drift.items()}
    return kept, tuple(names[row] for row in rows.tolist())


def purged(journal: Journal) -> Journal:
    """Return a journal without the features of images that are of no class any more.

    It folds to the same; no event so far can be undone, nor what was undone be done again.
    """
    classes, lessons = resolve(journal)
    rows = {one.lesson.id: one.numbers for one in lessons}
    events = tuple(
        event if isinstance(event, Edit) else event.with_rows(rows[event.id])
        for event in journal.in_force
    )
    return replace(
        journal,
        base=_base(journal, classes),
        base_names=tuple(name for name in classes if name is not None),
        events=events,
        settled=journal.head,
    )


def bounded(learner: OnePassInterface, journal: Journal, known: Folded) -> Journal:
    """Return a journal within its limit; the oldest lessons are settled where they have to be.

    ``known`` is what it folds to. What was undone is given up with them, and corrections that were
    made so far cannot be undone any more.
    """
    if journal.bytes <= journal.limit:
        return journal
    events = journal.in_force
    last = len(events)
    left = _LEFT * journal.limit
    while last and sum(_bytes(event) for event in events[last - 1 :]) <= left:
        last -= 1
    headers = tuple(e if isinstance(e, Edit) else e.settled() for e in events[:last])
    edits = [place + 1 for place, event in enumerate(events) if isinstance(event, Edit)]
    settled = max([last, journal.settled, *edits])
    base, names = known.state, known.class_names
    if last < len(events):
        base, names = _settle(learner, journal, known, last)
    return replace(
        journal,
        base=base,
        base_names=names,
        events=(*headers, *events[last:]),
        head=len(events),
        settled=settled,
    )


def _settle(
    learner: OnePassInterface, journal: Journal, known: Folded, last: int
) -> tuple[HostState, tuple[str, ...]]:
    """Return the base, and its classes, that the first ``last`` events and all edits make."""
    classes, everything = resolve(journal)
    first = sum(not isinstance(event, Edit) for event in journal.in_force[:last])
    names = _numbered(classes, everything[:first])
    state = _counted(learner, _base(journal, classes), everything[:first], names)
    places = {name: place for place, name in enumerate(known.class_names)}
    today = _remembered(learner, journal, everything, places)
    left = sum(bool(one.names) for one in everything[:first])
    old = replace(today, lessons=today.lessons[:left])
    evidence, calibration, _ = heard(learner, known.state, old)
    said = {
        "readout.evidence": journal.base["readout.evidence"] + evidence,
        "readout.calibration": journal.base["readout.calibration"] + calibration,
    }
    return state.replace(said), tuple(names)


def _solved(learner: OnePassInterface, state: HostState) -> HostState:
    """Return a base with its readout, where it knows a class: settling leaves the one before."""
    if not state["classes.count"].any():
        return state
    return learner.solve(state, state["readout.prior"], state["readout.scale"])[0]


def _counted(
    learner: OnePassInterface,
    state: HostState,
    lessons: Sequence[Rows],
    names: Mapping[str, int],
) -> HostState:
    """Return a state with lessons counted, each after what it did to the features."""
    for one in lessons:
        lesson = one.lesson
        if lesson.adapts:
            adapted = {"lessons.adapted": state["lessons.adapted"] + 1}
            state = state.replace({**lesson.adapted, **adapted})
        if lesson.drift:
            state = learner.carry(state, _drift(learner, one, names))
        labels = np.array([names[name] for name in one.names], np.int64)
        state = count(learner, state, lesson.x[one.numbers].astype(np.float32), labels)
        if len(labels) or lesson.adapts:
            state = state.replace({"lessons.count": state["lessons.count"] + 1})
    return state


def _drift(learner: OnePassInterface, one: Rows, names: Mapping[str, int]) -> Drift:
    """Return the sums that a lesson keeps with a row for each class as it is numbered now."""
    drift = drift_of_all(learner, one.lesson.drift)
    for row, name in enumerate(one.kept):
        if name is not None and name in names:
            for part in DRIFT_OF_CLASSES:
                drift[part][names[name]] += one.lesson.drift[part][row]
    return drift


def _base(journal: Journal, classes: Sequence[str | None]) -> HostState:
    """Return the state that the fold starts from, without classes that are forgotten."""
    state = journal.base
    left = [place for place, name in enumerate(classes) if name is not None]
    if len(left) == len(classes):
        return state
    changed = {name: np.zeros_like(state[name]) for name in ("classes.count", "classes.mean")}
    for name, rows in changed.items():
        rows[: len(left)] = state[name][left]
    return state.replace(changed)


def _numbered(base: Sequence[str | None], lessons: Sequence[Rows]) -> dict[str, int]:
    """Return the number of each class: in the order in which they were first taught."""
    order = dict.fromkeys([name for name in base if name is not None])
    order |= dict.fromkeys(name for one in lessons for name in one.names)
    return {name: place for place, name in enumerate(order)}


def _bytes(event: object) -> int:
    return getattr(event, "bytes", 0)
