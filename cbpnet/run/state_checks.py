"""What must hold of a learner's state beside its layout: numbers, counts, names of classes."""

from collections.abc import Mapping, Sequence
from reprlib import repr as short

import numpy as np

from cbpnet.data.labels import tidy_label
from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.state import HostState

__all__ = ["check_finite", "check_names", "check_numbers", "check_state"]

_INFINITE = "unknown.threshold"  # while no image could be judged
_ABOVE_ZERO = ("readout.prior", "readout.scale")


def check_state(state: HostState, names: Sequence[str]) -> None:
    """Raise `InputError` unless a state's numbers can be, together with its classes' names."""
    check_numbers(state)
    check_names(names, "class")
    if "classes.task" in state:
        _check_tasks(state)
        known = state["classes.task"] >= 0
    else:
        known = state["classes.count"] > 0
    for name in ("classes.count", "lessons.count", "lessons.adapted", "adam.step"):
        if name in state:
            _check_whole(name, state[name], 0, np.inf)
    if "lessons.count" in state and (state["lessons.adapted"] > state["lessons.count"]).any():
        raise InputError(
            f"'lessons.adapted' is {state['lessons.adapted'].item():g}; right would be at most "
            f"'lessons.count', {state['lessons.count'].item():g}"
        )
    for name in _ABOVE_ZERO:
        if name in state and not (state[name] > 0).all():
            raise InputError(f"{name!r} is {state[name].item():g}; right would be above 0")
    if known.sum() != len(names):
        raise InputError(f"it knows {known.sum()} classes and names {len(names)} of them")
    if not known[: len(names)].all():
        raise InputError(
            f"class {int(known.argmin())} is not known and a later one is; right would be none "
            "left out"
        )


def check_numbers(tensors: Mapping[str, Array]) -> None:
    """Raise `InputError` unless all tensors are float32, and finite as `check_finite` says."""
    for name, value in tensors.items():
        if value.dtype != np.float32:
            raise InputError(f"state tensor {name!r} is {value.dtype}; it must be float32")
        check_finite(name, value)


def check_finite(name: str, value: Array) -> None:
    """Raise `InputError` unless all numbers are finite; the unknown score may be infinite."""
    infinite = name.endswith(_INFINITE)
    odd = np.argwhere(~np.isfinite(value) & ~(infinite & (value == np.inf)))
    if len(odd):
        place = odd[0].tolist()
        raise InputError(
            f"state tensor {name!r} holds {value[tuple(place)]} at {place}; right would be "
            "a finite number"
        )


def check_names(names: Sequence[str], what: str) -> None:
    """Raise `InputError` unless labels are tidy (`tidy_label`) and no two are the same."""
    seen: set[str] = set()
    for number, name in enumerate(names):
        if tidy_label(name, f"{what} {number}'s label") != name:
            raise InputError(
                f"{what} {number} is called {short(name)}; right would be {short(tidy_label(name))}"
            )
        if name in seen:
            raise InputError(f"{what} {number} is called {short(name)}, as another one is")
        seen.add(name)


def _check_tasks(state: HostState) -> None:
    tasks = len(state["tasks.known"])
    _check_whole("tasks.known", state["tasks.known"], 0, 1)
    begun = int(state["tasks.known"].sum())
    if not state["tasks.known"][:begun].all():
        raise InputError(f"{begun} of {tasks} tasks are known; right would be the first {begun}")
    _check_whole("tasks.current", state["tasks.current"], -1, begun - 1)
    _check_whole("classes.task", state["classes.task"], -1, begun - 1)


def _check_whole(name: str, value: Array, least: float, most: float) -> None:
    odd = (value != np.floor(value)) | (value < least) | (value > most)
    if odd.any():
        right = f"from {least} to {most}" if np.isfinite(most) else f"of {least} or more"
        raise InputError(
            f"state tensor {name!r} holds {value[odd][0]:g}; right would be whole numbers {right}"
        )
