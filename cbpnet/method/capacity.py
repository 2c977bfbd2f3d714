"""A learner's state in a larger capacity, as where a server's state moves into a bundle."""

import torch
from torch import Tensor

from cbpnet.host.errors import InputError
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import Counted, counted_axes, state_layout
from cbpnet.method.state import LearnerState

__all__ = ["grow"]

# What a class or task that is not known yet has in the state; zeros in all other tensors. An
# E-prompt is copied from the task before when its task begins, so that no random start is lost.
_UNKNOWN = {"classes.task": -1.0}


def grow(
    state: LearnerState, config: LearnerConfig, dim: int, classes: int, tasks: int
) -> LearnerState:
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
    return LearnerState(state_layout(config, dim, classes, tasks), grown)


def _padded(tensor: Tensor, length: int, value: float) -> Tensor:
    """Return a tensor with entries of one value added at the end of its first axis."""
    missing = (length - len(tensor), *tensor.shape[1:])
    return torch.cat([tensor, tensor.new_full(missing, value)])
