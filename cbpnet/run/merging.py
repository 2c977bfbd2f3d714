"""States of several devices as one: the lessons of all their journals, each counted once.

Devices that started from one state, and whose features are adapted alike, have lessons whose
features can be compared; knowledge is then a fold over the lessons of all, in an order that does
not depend on whose state is named first. Corrections were made on each side, and cannot be undone
in what comes of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cbpnet.host.errors import InputError
from cbpnet.host.text import listed
from cbpnet.method.layout import DRIFT_OF_CLASSES
from cbpnet.run.journal import Edit, Journal, Rows, Taught, resolve

__all__ = ["Merged", "Part", "merge_journals"]


@dataclass(frozen=True)
class Part:
    """A state's journal under the title that messages call it by.

    ``names`` are other names for classes, in lessons that no other state has.
    """

    title: str
    journal: Journal
    names: Mapping[str, str]


@dataclass(frozen=True)
class Merged:
    """A journal of several states, and what they had in common.

    ``shared`` is the number of lessons that more than one of them had. ``clashes`` are the classes
    that several of them taught in lessons of their own, with the titles of these states.
    """

    journal: Journal
    shared: int
    clashes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Found:
    """A lesson in a state: where it belongs in time, and how sure it is that it is right."""

    place: tuple[int, int, str]
    corrected: tuple[bool, int, str]
    lesson: Taught
    part: Part


def merge_journals(parts: Sequence[Part]) -> Merged:
    """Return the journal of all lessons in force.

    Of a lesson that was corrected in one state and not in another the corrected one is taken, of
    two corrections the one in the state that was corrected last.

    Raises:
        InputError: the states do not start from the same one, or other lessons have adapted them.
    """
    _check_alike(parts)
    by_lesson: dict[str, list[_Found]] = {}
    for part in parts:
        for found in _lessons(part):
            by_lesson.setdefault(found.lesson.id, []).append(found)
    best = [max(same, key=lambda one: one.corrected) for same in by_lesson.values()]
    best.sort(key=lambda one: one.place)
    lessons = [
        one.lesson if len(by_lesson[one.lesson.id]) > 1 else _renamed(one.lesson, one.part.names)
        for one in best
    ]
    first = parts[0].journal
    headers = tuple(event for event in first.in_force if _is_settled(event))
    events = (*headers, *_edits_of_base(parts), *(one for one in lessons if _says(one)))
    return Merged(
        replace(
            first,
            events=events,
            head=len(events),
            settled=len(headers),
            limit=max(part.journal.limit for part in parts),
        ),
        shared=sum(len(same) > 1 for same in by_lesson.values()),
        clashes=_clashes(by_lesson),
    )


def _check_alike(parts: Sequence[Part]) -> None:
    """Raise `InputError` unless states start from one base and the same lessons adapted them."""
    first, *others = parts
    adapting = [_adapting(first.journal)]
    for part in others:
        ours, theirs = first.journal, part.journal
        same = all(np.array_equal(value, theirs.base[name]) for name, value in ours.base.items())
        if not same or ours.base_names != theirs.base_names:
            raise InputError(
                f"{part.title} and {first.title} do not start from the same state: lessons of one "
                "are not in its journal any more, or it was begun in another bundle; right would "
                "be states that went on from one, with a journal that keeps their lessons"
            )
        adapting.append(_adapting(theirs))
        if adapting[-1] != adapting[0]:
            raise InputError(
                f"the features of {part.title} were adapted by {_named(theirs)}, those of "
                f"{first.title} by {_named(ours)}; features that were adapted otherwise cannot be "
                "compared: right would be devices that went on from one state whose first lesson "
                "had been learnt"
            )


def _adapting(journal: Journal) -> list[str]:
    return [event.id for event in journal.in_force if isinstance(event, Taught) and event.adapts]


def _named(journal: Journal) -> str:
    """Return the lessons that adapted the features, in words."""
    found = [e for e in journal.in_force if isinstance(e, Taught) and e.adapts]
    return " and ".join(f"the lesson of {listed(list(e.names))}" for e in found) or "no lesson"


def _lessons(part: Part) -> list[_Found]:
    """Return a state's lessons as they were corrected."""
    edits = [event.time for event in part.journal.in_force if isinstance(event, Edit)]
    found, adapted = [], 0
    for one in resolve(part.journal)[1]:
        if _is_settled(one.lesson):
            continue
        lesson = _as_corrected(one)
        changed = not np.array_equal(_labels(lesson), _labels(one.lesson))
        # An adapting lesson comes before those that were learnt on what it left.
        adapted += one.lesson.adapts
        place = (2 * adapted - one.lesson.adapts, one.lesson.time, one.lesson.id)
        corrected = (changed, max(edits, default=0), str(one.names))
        found.append(_Found(place, corrected, lesson, part))
    return found


def _as_corrected(one: Rows) -> Taught:
    """Return a lesson with the images that are left of it, under their names of today."""
    names = tuple(dict.fromkeys(one.names))
    labels = np.array([names.index(name) for name in one.names], np.int32)
    lesson, kept = one.lesson, [row for row, name in enumerate(one.kept) if name is not None]
    return replace(
        lesson.with_rows(one.numbers),
        names=names,
        counts=tuple(np.bincount(labels, minlength=len(names)).tolist()),
        labels=labels,
        drift={n: v[kept] if n in DRIFT_OF_CLASSES else v for n, v in lesson.drift.items()},
        kept=tuple(name for name in one.kept if name is not None),
    )


def _labels(lesson: Taught) -> list[str]:
    return [lesson.names[label] for label in lesson.labels.tolist()]


def _renamed(lesson: Taught, names: Mapping[str, str]) -> Taught:
    """Return a lesson with other names for some of its classes."""
    own = [names.get(name, name) for name in lesson.names]
    merged = tuple(dict.fromkeys(own))
    places = np.array([merged.index(name) for name in own], np.int32)
    labels = places[lesson.labels] if len(places) else lesson.labels
    counts = tuple(np.bincount(labels, minlength=len(merged)).tolist())
    kept = tuple(names.get(name, name) for name in lesson.kept)
    return replace(lesson, names=merged, labels=labels, counts=counts, kept=kept)


def _edits_of_base(parts: Sequence[Part]) -> list[Edit]:
    """Return what any state's corrections make of the classes that all started from.

    Raises:
        InputError: two states have other names for one.
    """
    edits = []
    for place, name in enumerate(parts[0].journal.base_names):
        given = {part.title: resolve(part.journal)[0][place] for part in parts}
        new = {other for other in given.values() if other != name}
        if len(new) > 1:
            named = ", ".join(f"{other or 'forgotten'} in {part}" for part, other in given.items())
            raise InputError(
                f"class {name!r}, which all states started with, is {named}; make it the same in "
                "all of them first"
            )
        for other in new:
            edits.append(Edit("rename", 0, name, other) if other else Edit("forget", 0, name))
    return edits


def _clashes(by_lesson: Mapping[str, Sequence[_Found]]) -> dict[str, tuple[str, ...]]:
    """Return the classes that several states taught in lessons of their own."""
    taught: dict[str, dict[str, None]] = {}
    for same in by_lesson.values():
        if len(same) == 1:
            for name in _renamed(same[0].lesson, same[0].part.names).names:
                taught.setdefault(name, {})[same[0].part.title] = None
    return {name: tuple(titles) for name, titles in taught.items() if len(titles) > 1}


def _is_settled(event: object) -> bool:
    return isinstance(event, Taught) and not len(event.labels) and not event.adapts


def _says(lesson: Taught) -> bool:
    """Whether anything is left of a lesson."""
    return bool(len(lesson.labels)) or lesson.adapts
