"""A learner's state in a larger capacity, as where a server's state moves into a bundle."""

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import Counted, counted_axes, state_layout
from cbpnet.method.state import HostState

__all__ = ["grow"]

# What a class or task that is not known yet has in the state; zeros in all other tensors. An
# E-prompt is copied from the task before when its task begins, so that no random start is lost.
_UNKNOWN = {"classes.task": -1.0}


def grow(state: HostState, config: LearnerConfig, dim: int, classes: int, tasks: int) -> HostState:
    """Return a state with room for C ``classes`` and T ``tasks``, that knows what it knew.

    It predicts and learns as if it had had that room from the start. ``dim`` is the backbone's
    width D. A one-pass learner has no tasks, and ``tasks`` means nothing to it.

    Raises:
        InputError: the capacity is smaller than the state's own.
    """
    capacity: dict[Counted, int] = {"classes": classes, "tasks": tasks}
    axes = counted_axes(config, dim)
    sizes = {counted: len(state[name]) for name, counted in axes.items() if counted is not None}
    for counted, found in sizes.items():
        if capacity[counted] < found:
            raise InputError(
                f"the state has room for {found} {counted}, more than the {capacity[counted]} "
                f"asked for; a capacity of at least {found} {counted} is needed"
            )
    grown = {
        name: state[name]
        if counted is None
        else _padded(state[name], capacity[counted], _UNKNOWN.get(name, 0.0))
        for name, counted in axes.items()
    }
    return HostState(state_layout(config, dim, classes, tasks), grown)


def _padded(array: Array, length: int, value: float) -> Array:
    """Return an array with entries of one value added at the end of its first axis."""
    missing = (length - len(array), *array.shape[1:])
    return np.concatenate([array, np.full(missing, value, array.dtype)])
