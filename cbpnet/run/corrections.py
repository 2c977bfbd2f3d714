"""Corrections of what was taught, as events of a journal: one is checked, and then in force.

What is known afterwards is `cbpnet.run.fold.fold` of the journal that they return.
"""

from collections.abc import Collection, Sequence

from cbpnet.host.errors import InputError
from cbpnet.host.text import counted, listed
from cbpnet.run.journal import Edit, Journal, resolve

__all__ = ["classes_of", "forget", "merge", "relabel", "rename"]


def forget(journal: Journal, names: Sequence[str], label: str, time: int) -> Journal:
    """Return the journal with a class forgotten.

    Of a class whose images are settled, the spread that they had stays in that of all classes.

    Args:
        journal: what was taught.
        names: the known classes.
        label: the class.
        time: of the correction, in whole seconds since 1970, UTC.

    Raises:
        InputError: the class is not known.
    """
    _check_known(label, names)
    return journal.followed_by(Edit("forget", time, label))


def rename(journal: Journal, names: Sequence[str], label: str, new: str, time: int) -> Journal:
    """Return the journal with a class under another name, which is not known; see `forget`.

    Raises:
        InputError: the class is not known, or the other name is.
    """
    _check_known(label, names)
    if new in names:
        raise InputError(f"class {new!r} is known; to make the images of {label!r} its, merge them")
    return journal.followed_by(Edit("rename", time, label, new))


def merge(journal: Journal, names: Sequence[str], label: str, into: str, time: int) -> Journal:
    """Return the journal with all images of a class made those of another known one.

    Raises:
        InputError: a class is not known, both are the same, or the first one's images are settled.
    """
    _check_known(label, names)
    _check_known(into, names)
    if label == into:
        raise InputError(f"class {label!r} cannot be merged with itself; name another known class")
    if label in resolve(journal)[0]:
        raise InputError(
            f"images of class {label!r} are not in the journal, and cannot become those of "
            f"{into!r}; forget {label!r} and teach {into!r} with them"
        )
    return journal.followed_by(Edit("merge", time, label, into))


def relabel(journal: Journal, pictures: Collection[int], new: str, time: int) -> Journal:
    """Return the journal with some images made those of a class, known or new.

    ``pictures`` are their `cbpnet.run.remembered.picture_keys`.

    Raises:
        InputError: one of them is not in the journal, or all are of that class already.
    """
    kept = {key for one in resolve(journal)[1] for key in one.lesson.pictures[one.numbers].tolist()}
    missing = set(pictures) - kept
    if missing or not pictures:
        raise InputError(
            f"{counted(len(missing), 'picture')} of {len(pictures)} cannot be relabelled, the "
            "journal has no lesson with them; teach them to the right class instead"
        )
    if classes_of(journal, pictures) == {new}:
        raise InputError(f"all {len(pictures)} pictures are of class {new!r} already")
    return journal.followed_by(Edit("relabel", time, "", new, tuple(sorted(set(pictures)))))


def classes_of(journal: Journal, pictures: Collection[int]) -> set[str]:
    """Return the classes that some images are of today."""
    return {
        name
        for one in resolve(journal)[1]
        for picture, name in zip(one.lesson.pictures[one.numbers].tolist(), one.names, strict=True)
        if picture in pictures
    }


def _check_known(label: str, names: Sequence[str]) -> None:
    if label not in names:
        raise InputError(f"class {label!r} is not known; known are {listed(list(names), 20)}")
