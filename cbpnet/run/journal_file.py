"""A journal as part of a state file: its arrays as tensors, and the rest as JSON.

Event 3's features are the tensor `journal.3.x`, with `journal.3.labels` and `journal.3.pictures`,
and where it adapted them `journal.3.adapted.*` and `journal.3.drift.*`. What the fold starts from
is `journal.base.*`, without tensors of zeros; it is left out where that is the state itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from reprlib import repr as short
from typing import Any

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.dataclass_json import from_json
from cbpnet.host.errors import InputError
from cbpnet.method.layout import drift_layout, is_adapted, prefixed, unprefixed
from cbpnet.method.state import HostState
from cbpnet.run.journal import Edit, Event, Journal, Taught
from cbpnet.run.lesson import Reason
from cbpnet.run.state_checks import check_names, check_state
from cbpnet.run.state_file import JOURNAL
from cbpnet.run.state_info import StateInfo

__all__ = ["event_json", "journal_json", "journal_tensors", "read_journal"]

_BASE, _ADAPTED, _DRIFT = "base.", "adapted.", "drift."
_LATEST = 253402300799  # the last second of the year 9999
_ROWS = {"labels": np.int32, "pictures": np.uint64, "x": np.float16}


@dataclass(frozen=True)
class _Record:
    """The JSON of a journal; an event has its fields, without arrays, and its kind."""

    base_names: tuple[str, ...]
    events: tuple[dict[str, Any], ...]
    head: int
    settled: int
    limit: int


@dataclass(frozen=True)
class _TaughtRecord:
    id: str
    time: int
    source: str
    names: tuple[str, ...]
    counts: tuple[int, ...]
    reason: Reason
    accuracy: float | None
    kept: tuple[str, ...]


def journal_json(journal: Journal) -> dict[str, Any]:
    """Return what is not arrays in a journal, for JSON."""
    return {
        "base_names": list(journal.base_names),
        "events": [event_json(event) for event in journal.events],
        "head": journal.head,
        "settled": journal.settled,
        "limit": journal.limit,
    }


def journal_tensors(journal: Journal) -> dict[str, Array]:
    """Return a journal's arrays by the names that they have in a state file."""
    found: dict[str, Array] = {}
    if not journal.rests_on_base or journal.head < len(journal.events):
        found |= prefixed(_BASE, {n: v for n, v in journal.base.items() if v.any()})
    for number, event in enumerate(journal.events):
        if isinstance(event, Taught) and (len(event.labels) or event.adapts):
            arrays: dict[str, Array] = {name: getattr(event, name) for name in _ROWS}
            arrays |= prefixed(_ADAPTED, event.adapted) | prefixed(_DRIFT, event.drift)
            found |= prefixed(f"{number}.", arrays)
    return prefixed(JOURNAL, found)


def read_journal(
    found: Any, tensors: Mapping[str, Array], state: HostState, info: StateInfo
) -> Journal:
    """Return a journal from its JSON and tensors, and the state that they were saved with.

    Raises:
        InputError: they contradict each other, the state or what it belongs to.
    """
    record = from_json(_Record, found)
    check_names(record.base_names, "the journal's class")
    own = unprefixed(JOURNAL, tensors)
    arrays = _by_event(own)
    events = tuple(
        _event(number, event, arrays.get(str(number), {}), info)
        for number, event in enumerate(record.events)
    )
    if not 0 <= record.settled <= record.head <= len(events) or record.limit < 0:
        raise InputError(
            f"the journal has {len(events)} events, {record.head} of them in force, "
            f"{record.settled} settled, and a limit of {record.limit}; these cannot be together"
        )
    base = _base(unprefixed(_BASE, own), state, record.base_names)
    journal = Journal(base, record.base_names, events, record.head, record.settled, record.limit)
    for name in prefixed(JOURNAL, own).keys() ^ journal_tensors(journal).keys():
        raise InputError(f"the journal's tensor {name!r} is missing or belongs to no event")
    return journal


def event_json(event: Event) -> dict[str, Any]:
    """Return what is not arrays in an event, for JSON."""
    kind = Edit if isinstance(event, Edit) else _TaughtRecord
    found = {field.name: getattr(event, field.name) for field in fields(kind)}
    return found if isinstance(event, Edit) else {"kind": "taught"} | found


def _by_event(arrays: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the journal's arrays by what stands before the first dot of their names."""
    found: dict[str, dict[str, Array]] = {}
    for name, value in arrays.items():
        event, _, rest = name.partition(".")
        found.setdefault(event, {})[rest] = value
    return found


def _event(
    number: int, found: Mapping[str, Any], arrays: Mapping[str, Array], info: StateInfo
) -> Event:
    if found.get("kind") != "taught":
        edit = from_json(Edit, found)
        _check_edit(number, edit)
        return edit
    record = from_json(_TaughtRecord, {k: v for k, v in found.items() if k != "kind"})
    _check_record(number, record)
    rows: dict[str, Any] = {
        name: arrays.get(name, np.zeros(0, dtype)) for name, dtype in _ROWS.items()
    }
    lesson = Taught(
        **{field.name: getattr(record, field.name) for field in fields(record)} | rows,
        adapted=unprefixed(_ADAPTED, arrays),
        drift=unprefixed(_DRIFT, arrays),
    )
    _check_arrays(number, lesson, info)
    return lesson


def _check_edit(number: int, edit: Edit) -> None:
    """Raise `InputError` unless a correction says what it corrects, as its kind wants it."""
    _check_time(number, edit.time)
    named = {"label": edit.label} if edit.kind != "relabel" else {}
    named |= {"new": edit.new} if edit.kind != "forget" else {}
    for name in named.values():
        check_names([name], f"the journal's event {number}, class")
    if any(not 0 <= key < 1 << 64 for key in edit.pictures):
        raise InputError(
            f"the journal's event {number} has a key of a picture that is no number of 64 bits"
        )


def _check_record(number: int, record: _TaughtRecord) -> None:
    """Raise `InputError` unless what a lesson says of itself can be."""
    _check_time(number, record.time)
    check_names(record.names, f"the journal's event {number}, class")
    if len(record.counts) != len(record.names) or min(record.counts, default=0) < 0:
        raise InputError(
            f"the journal's event {number} has counts {short(record.counts)} of "
            f"{len(record.names)} classes; right would be one of 0 or more for each"
        )
    if record.accuracy is not None and not 0 <= record.accuracy <= 1:
        raise InputError(
            f"the journal's event {number} has an accuracy of {record.accuracy}; right would be in "
            "[0, 1]"
        )


def _check_time(number: int, time: int) -> None:
    if not 0 <= time <= _LATEST:
        raise InputError(
            f"the journal's event {number} is of second {time} since 1970; right would be from 0 "
            f"to {_LATEST}"
        )


def _check_arrays(number: int, lesson: Taught, info: StateInfo) -> None:
    """Raise `InputError` unless a lesson's arrays are of its length, the layout's sizes, finite."""
    images, layout = len(lesson.labels), info.layout
    width = layout["classes.mean"][1]
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "labels": (np.int32, (images,)),
        "pictures": (np.uint64, (images,)),
        "x": (np.float16, (images, width) if images else lesson.x.shape),
    }
    arrays: dict[str, Array] = {name: getattr(lesson, name) for name in _ROWS}
    for name, value in lesson.adapted.items():
        arrays[_ADAPTED + name] = value
        if is_adapted(name):
            wanted[_ADAPTED + name] = np.float32, layout.get(name, ())
    sums = drift_layout(info.config, info.dim, len(lesson.kept))
    for name, value in lesson.drift.items():
        arrays[_DRIFT + name] = value
        wanted[_DRIFT + name] = np.float32, sums.get(name, ())
    for name, value in arrays.items():
        dtype, shape = wanted.get(name, (None, ()))
        if value.dtype != dtype or value.shape != shape or not _finite(value):
            raise InputError(
                f"{name} of the journal's event {number} is {value.dtype} {list(value.shape)} or "
                f"not finite; right would be {np.dtype(dtype)} {list(shape)}"
            )
    labels = lesson.labels
    if images and not (labels.min() >= 0 and labels.max() < len(lesson.names)):
        raise InputError(
            f"the journal's event {number} has labels from {labels.min()} to {labels.max()} and "
            f"{len(lesson.names)} classes; right would be from 0 to {len(lesson.names) - 1}"
        )


def _finite(value: Array) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _base(found: Mapping[str, Array], state: HostState, names: Sequence[str]) -> HostState:
    """Return what a journal starts from: the state itself where there are no tensors of it."""
    try:
        zeros = {name: np.zeros_like(value) for name, value in state.items()}
        base = HostState(state.layout, zeros | dict(found)) if found else state
        check_state(base, names)
    except ValueError as error:
        raise InputError(f"what the journal starts from is no such state: {error}") from error
    return base
