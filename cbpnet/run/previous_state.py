"""The state before the newest one, which is gone on from where the newest is damaged.

Beside a state file STATE, wherever a link of that name points, STATE.1 is what it was before it was
last saved. A damaged one that is saved over stays as STATE.damaged.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cbpnet.host.atomic import real_path
from cbpnet.host.errors import InputError

__all__ = [
    "DamageError",
    "Say",
    "damaged_path",
    "previous_path",
    "read_newest",
    "state_exists",
    "warn",
]

Say = Callable[[str], object]

T = TypeVar("T")


class DamageError(InputError):
    """A file is not what was once written: bits of it have changed, or some are missing."""


def previous_path(state: Path) -> Path:
    """Return where the state stands that was there before a state file was last saved."""
    return _beside(state, "1")


def damaged_path(state: Path) -> Path:
    """Return where a damaged state stays that was saved over."""
    return _beside(state, "damaged")


def warn(sentence: str) -> None:
    """Say a sentence as Python's warnings are said: where a program has no better place."""
    warnings.warn(sentence, stacklevel=2)


def state_exists(state: Path) -> bool:
    """Return whether there is a state to go on from.

    Raises:
        InputError: there is none, but the one before it, which beginning anew would cost.
    """
    if not state.exists() and previous_path(state).exists():
        raise InputError(
            f"state file {state} does not exist, and {previous_path(state)}, which was saved "
            "before it, does; rename that to go on from it, or remove it to begin anew"
        )
    return state.exists()


def read_newest(state: Path, read: Callable[[Path], T], say: Say) -> T:
    """Read a state file, or where it is damaged the one before it, and say so.

    Raises:
        InputError: ``read`` refuses the state, and if it is damaged the one before it too; or only
            that one exists.
    """
    state_exists(state)
    try:
        return read(state)
    except DamageError as damage:
        previous = previous_path(state)
        try:
            found = read(previous)
        except InputError:
            raise damage from None
        say(
            f"state file {state} is damaged: {previous}, which was saved before it, is used in its "
            "place; teach again what was learnt since"
        )
        return found


def _beside(state: Path, ending: str) -> Path:
    path = real_path(state)
    return path.with_name(f"{path.name}.{ending}")
