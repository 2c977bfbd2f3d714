"""What several states know, as one: their lessons counted once each, and their kept pictures."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from cbpnet.host.errors import InputError
from cbpnet.run.journal import Taught
from cbpnet.run.merging import Merged, Part, merge_journals
from cbpnet.run.remembered import as_counted, picture_keys
from mobile.device.kept_pictures import KeptPictures, decode_picture
from mobile.device.lessons import Knowledge
from mobile.device.one_pass_teacher import OnePassTeacher

__all__ = ["Side", "merge_knowledge"]


@dataclass(frozen=True)
class Side:
    """What a state knows, its title in messages, and other names for its own classes."""

    title: str
    known: Knowledge
    names: Mapping[str, str]


def merge_knowledge(
    teacher: OnePassTeacher, sides: Sequence[Side], recount: bool
) -> tuple[Knowledge, Merged]:
    """Return what all states know.

    Args:
        teacher: of the bundle that all states belong to.
        sides: two states or more.
        recount: whether a state whose features were adapted by other lessons than the first one's
            gives its kept pictures, counted by the first one's features, in the place of lessons.

    Raises:
        InputError: as `merge_journals`; a state to be counted again has no kept pictures; or there
            is no room for all classes.
    """
    parts = [_part(side) for side in sides]
    if recount:
        first = sides[0].known
        for place, side in enumerate(sides[1:], 1):
            try:
                merge_journals([parts[0], parts[place]])
            except InputError:
                parts[place] = _recounted(teacher, first, side)
    merged = merge_journals(parts)
    known = teacher.fold(merged.journal)
    merged = replace(merged, journal=teacher.bounded(merged.journal, known))
    kept = _kept_pictures(sides, known.class_names)
    return Knowledge(
        known.state, known.class_names, merged.journal.lessons, kept, merged.journal
    ), merged


def _kept_pictures(sides: Sequence[Side], names: Sequence[str]) -> KeptPictures:
    """Return the pictures that any state keeps of the classes that are known now."""
    found: dict[str, dict[bytes, None]] = {name: {} for name in names}
    for side in sides:
        for name, files in zip(side.known.class_names, side.known.kept.classes, strict=False):
            new = side.names.get(name, name)
            found.get(new if new in found else name, {}).update(dict.fromkeys(files))
    limit = max(side.known.kept.limit for side in sides)
    return KeptPictures(limit, tuple(tuple(few) for few in found.values())).limited(limit)


def _part(side: Side) -> Part:
    if side.known.journal is None:
        raise InputError(f"{side.title} is a state of tasks, whose lessons cannot be merged")
    return Part(side.title, side.known.journal, side.names)


def _recounted(teacher: OnePassTeacher, first: Knowledge, side: Side) -> Part:
    """Return a state's kept pictures as its one lesson, by the features of the ``first`` state."""
    kept, known = side.known.kept, side.known
    without = [
        name
        for number, name in enumerate(known.class_names)
        if number >= len(kept.classes) or not kept.classes[number]
    ]
    if without:
        raise InputError(
            f"{side.title} cannot be counted again: it keeps no picture of {', '.join(without)}; "
            "teach with --keep N to have some, or leave it out"
        )
    images = kept.images()
    assert images is not None  # every class has some
    assert known.journal is not None  # each is a part
    assert first.journal is not None
    x = teacher.features(first.state, images)
    files = b"".join(chain.from_iterable(kept.classes))
    size = teacher.image_size
    pixels = np.stack([decode_picture(file, size) for few in kept.classes for file in few])
    lesson = Taught(
        id=hashlib.sha256(files).hexdigest()[:16],
        time=max((event.time for event in known.journal.in_force), default=0),
        source=f"kept pictures of {side.title}",
        names=known.class_names,
        counts=tuple(len(few) for few in kept.classes),
        reason="never",
        accuracy=None,
        labels=images.labels.astype(np.int32),
        pictures=picture_keys(pixels),
        x=as_counted(x),
        adapted={},
        drift={},
        kept=(),
    )
    adapting = [isinstance(event, Taught) and event.adapts for event in first.journal.in_force]
    places = [place for place, adapts in enumerate(adapting, 1) if adapts]
    last = max([first.journal.settled, *places])  # what is settled is in the base
    journal = replace(first.journal, events=first.journal.events[:last], head=last)
    return Part(side.title, journal.followed_by(lesson), side.names)
