"""What a learner was taught, lesson by lesson, without a picture; its knowledge is a fold over it.

A lesson keeps the features that were counted of its images, in fp16, and their classes by name. One
that adapted the features keeps what it made of the prompt, and the sums over pairs of features by
which older statistics are carried over. What is taken back or corrected later is an event too, so
that everything can be undone: knowledge is `cbpnet.run.fold` of the first ``head`` events.

A journal is bounded: beyond its limit the oldest lessons are settled. They stay in the statistics
that the fold starts from, and their features are dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState
from cbpnet.run.lesson import Reason

__all__ = [
    "Edit",
    "EditKind",
    "Event",
    "Journal",
    "Rows",
    "Taught",
    "resolve",
]

EditKind = Literal["forget", "rename", "merge", "relabel"]


@dataclass(frozen=True)
class Taught:
    """A lesson of N images.

    Attributes:
        id: tells lessons apart, on whatever devices they were learnt.
        time: when it was learnt, in whole seconds since 1970, UTC.
        source: where its images came from, in words.
        names: its classes, in the order in which they were taught.
        counts: images of each class, as they were taught.
        reason: why it did or did not adapt the features.
        accuracy: of its images among its classes, each left out, in [0, 1]; None if unknown.
        labels: the class of each image, as a position in ``names``, int32 [N].
        pictures: `cbpnet.run.remembered.picture_keys` of the images, uint64 [N].
        x: their features as they were counted, fp16 [N, F]; they, labels and pictures have no rows
            once the lesson is settled.
        adapted: the tensors that an adaptation left in the state; empty without one.
        drift: the sums of `cbpnet.method.drift.Drift` that carried older statistics over it, those
            by class of the classes ``kept`` alone; empty where nothing was known before.
        kept: the classes that had kept pictures.
    """

    id: str
    time: int
    source: str
    names: tuple[str, ...]
    counts: tuple[int, ...]
    reason: Reason
    accuracy: float | None
    labels: npt.NDArray[np.int32]
    pictures: npt.NDArray[np.uint64]
    x: npt.NDArray[np.float16]
    adapted: Mapping[str, Array]
    drift: Mapping[str, Array]
    kept: tuple[str, ...]

    @property
    def adapts(self) -> bool:
        """Whether it adapted the features."""
        return bool(self.adapted)

    @property
    def bytes(self) -> int:
        """The size of its arrays in bytes."""
        arrays: list[Array] = [self.labels, self.pictures, self.x]
        arrays += [*self.adapted.values(), *self.drift.values()]
        return sum(array.nbytes for array in arrays)

    def settled(self) -> "Taught":
        """Return the lesson without its arrays."""
        return replace(self.with_rows(slice(0)), adapted={}, drift={}, kept=())

    def with_rows(self, rows: Array | slice) -> "Taught":
        """Return the lesson with some of its images."""
        labels, pictures, x = self.labels[rows], self.pictures[rows], self.x[rows]
        return replace(self, labels=labels, pictures=pictures, x=x)


@dataclass(frozen=True)
class Edit:
    """What corrects earlier lessons.

    "forget" takes the class ``label`` away, "rename" gives it the name ``new``, "merge" makes its
    images those of the class ``new``; "relabel" does so with the images ``pictures``, whatever
    class they are of, and its ``label`` is empty. ``time`` is as in `Taught`.
    """

    kind: EditKind
    time: int
    label: str
    new: str = ""
    pictures: tuple[int, ...] = ()


Event = Taught | Edit


@dataclass(frozen=True)
class Journal:
    """Events, of which the first ``head`` are in force; those behind it can be done again.

    Attributes:
        base: the state that the fold starts from.
        base_names: the classes that it knows, by number.
        events: in the order in which they came about.
        head: how many are in force.
        settled: of so many the knowledge is in ``base``; they cannot be undone.
        limit: bytes that the lessons' arrays may take; 0 keeps none.
    """

    base: HostState
    base_names: tuple[str, ...]
    events: tuple[Event, ...] = ()
    head: int = 0
    settled: int = 0
    limit: int = 1 << 23

    @property
    def in_force(self) -> tuple[Event, ...]:
        """The events that knowledge is made of."""
        return self.events[: self.head]

    @property
    def rests_on_base(self) -> bool:
        """Whether the events in force change nothing that the base does not know."""
        later = self.in_force[self.settled :]
        lessons = [event for event in self.in_force if isinstance(event, Taught)]
        return not any(len(lesson.labels) for lesson in lessons) and not any(
            isinstance(event, Edit) for event in later
        )

    @property
    def lessons(self) -> int:
        """The number of lessons in force."""
        return sum(isinstance(event, Taught) for event in self.in_force)

    @property
    def bytes(self) -> int:
        """The size of the lessons' arrays in bytes."""
        return sum(event.bytes for event in self.events if isinstance(event, Taught))

    def followed_by(self, event: Event) -> "Journal":
        """Return the journal with one more event; what had been undone is given up."""
        return replace(self, events=(*self.in_force, event), head=self.head + 1)

    def undone(self) -> "Journal":
        """Return the journal without its last event in force.

        Raises:
            InputError: none is in force, or the last one is settled.
        """
        if self.head == 0:
            raise InputError("nothing has been learnt or changed that could be undone")
        if self.head <= self.settled:
            raise InputError(
                "the last lesson cannot be undone: its features are not in the journal any more, "
                f"which keeps {self.limit / 1e6:.1f} MB; a larger one (--journal) keeps more"
            )
        return replace(self, head=self.head - 1)

    def redone(self) -> "Journal":
        """Return the journal with the event in force again that was undone last.

        Raises:
            InputError: none was undone, or something was learnt or changed since.
        """
        if self.head == len(self.events):
            raise InputError("nothing was undone that could be done again")
        return replace(self, head=self.head + 1)


@dataclass(frozen=True)
class Rows:
    """A lesson as all events in force leave it.

    ``numbers`` and ``names`` are the rows of its arrays that are left and the class of each.
    ``kept`` are the names today of the classes with kept pictures, None for one that is forgotten.
    """

    lesson: Taught
    numbers: Array
    names: tuple[str, ...]
    kept: tuple[str | None, ...]


def resolve(journal: Journal) -> tuple[list[str | None], list[Rows]]:
    """Return what edits leave: the base's classes, None for one that is forgotten, and lessons."""
    base: list[str | None] = list(journal.base_names)
    lessons: list[tuple[Taught, list[str | None], list[str | None]]] = []
    for place, event in enumerate(journal.in_force):
        if isinstance(event, Taught):
            names: list[str | None] = [event.names[label] for label in event.labels.tolist()]
            lessons.append((event, names, list(event.kept)))
            continue
        if event.kind == "relabel":
            chosen = set(event.pictures)
            for lesson, names, _ in lessons:
                for row, picture in enumerate(lesson.pictures.tolist()):
                    if picture in chosen and names[row] is not None:
                        names[row] = event.new
            continue
        to = event.new or None
        groups = [part for _, *parts in lessons for part in parts]
        # What is settled stands under the names that edits had given it by then.
        for group in groups if place < journal.settled else [base, *groups]:
            group[:] = [to if name == event.label else name for name in group]
    return base, [
        Rows(
            lesson,
            np.array([row for row, name in enumerate(names) if name is not None], np.int64),
            tuple(name for name in names if name is not None),
            tuple(kept),
        )
        for lesson, names, kept in lessons
    ]
