"""What is known after a correction: the journal's fold, and kept pictures with their classes."""

from collections.abc import Mapping, Sequence

from cbpnet.run.journal import Journal
from mobile.device.lessons import Knowledge
from mobile.device.one_pass_teacher import OnePassTeacher

__all__ = ["corrected"]


def corrected(
    teacher: OnePassTeacher,
    before: Knowledge,
    journal: Journal,
    made_of: Mapping[str, Sequence[str]],
) -> Knowledge:
    """Return what is known by another journal.

    ``made_of`` are the classes ``before`` whose kept pictures a class has now, where they are not
    its own.
    """
    known = teacher.fold(journal)
    numbers = {name: number for number, name in enumerate(before.class_names)}
    sources = [made_of.get(name, (name,)) for name in known.class_names]
    kept = before.kept.arranged(
        [[numbers[name] for name in few if name in numbers] for few in sources]
    )
    return Knowledge(known.state, known.class_names, journal.lessons, kept, journal)
