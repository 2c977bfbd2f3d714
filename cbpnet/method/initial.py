"""What a learner starts from: the state before any class, and the numbers of fresh units."""

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, ReadoutConfig
from cbpnet.method.layout import Layout, state_layout
from cbpnet.method.state import HostState
from cbpnet.method.threshold import NEVER_UNKNOWN

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["draw_state", "initial_bound", "initial_incoming", "initial_prompt"]

_Numbers = TypeVar("_Numbers", Array, "Tensor")


def initial_bound(dim: int) -> float:
    """Return the Kaiming-uniform bound ``sqrt(6 / fan_in)`` for ReLU, used for the identity too."""
    return math.sqrt(6 / dim)


def initial_incoming(noise: _Numbers) -> _Numbers:
    """Return incoming weights [..., D] from uniform noise in [0, 1) of the same shape."""
    weights: _Numbers = (2 * noise - 1) * initial_bound(noise.shape[-1])
    return weights


def initial_prompt(noise: _Numbers, init_range: float) -> _Numbers:
    """Return prompts uniform in [-``init_range``, ``init_range``] from noise uniform in [0, 1)."""
    prompts: _Numbers = init_range * (2 * noise - 1)
    return prompts


def draw_state(
    config: LearnerConfig, dim: int, classes: int, tasks: int, stream: RandomStream
) -> HostState:
    """Return the state before any class is known; prompts and block draw from the stream.

    ``dim`` is the backbone's width D; ``classes`` and ``tasks`` are the capacity C and T.
    """
    layout = state_layout(config, dim, classes, tasks)
    state: dict[str, Array] = {name: np.zeros(shape, np.float32) for name, shape in layout.items()}
    for name in ("prompts.g", "prompts.e"):
        if name in state:
            noise = stream.uniform(*layout[name])
            state[name] = initial_prompt(noise, config.prompts.init_range)
    if config.one_pass:
        for name, choices in (("prior", config.readout.priors), ("scale", config.readout.scales)):
            state[f"readout.{name}"] += choices[len(choices) // 2]
        state["unknown.threshold"] += NEVER_UNKNOWN
        return HostState(layout, state)
    if config.block is not None:
        incoming = initial_incoming(stream.uniform(1, config.block.hidden, dim))
        state["block.w_in"] = incoming.swapaxes(1, 2).copy()
    state["tasks.current"] -= 1
    state["classes.task"] -= 1
    if config.readout.kind == "rls":
        state |= _initial_readout(config.readout, layout, stream)
    return HostState(layout, state)


def _initial_readout(
    config: ReadoutConfig, layout: Layout, stream: RandomStream
) -> dict[str, Array]:
    """Return least squares before any image; the projection is standard normal over sqrt(D)."""
    dim, features = layout["readout.projection"]
    inputs, _ = layout["readout.inverse"]
    return {
        "readout.projection": stream.normal(dim, features) / np.float32(dim**0.5),
        "readout.inverse": np.eye(inputs, dtype=np.float32) / np.float32(config.regularisation),
    }
