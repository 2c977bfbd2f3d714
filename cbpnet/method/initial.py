"""A learner's state before it knows any class."""

import math

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.host.random_streams import RandomStream
from cbpnet.method.config import LearnerConfig, ReadoutConfig
from cbpnet.method.layout import Layout, state_layout
from cbpnet.method.state import HostState

__all__ = ["draw_state", "initial_bound"]


def initial_bound(dim: int) -> float:
    """Return the Kaiming-uniform bound ``sqrt(6 / fan_in)`` for ReLU, used for the identity too."""
    return math.sqrt(6 / dim)


def draw_state(
    config: LearnerConfig, dim: int, classes: int, tasks: int, stream: RandomStream
) -> HostState:
    """Return the state before any class is known; prompts and block draw from the stream.

    ``dim`` is the backbone's width D; ``classes`` and ``tasks`` are the capacity C and T. Prompts
    are uniform in [-init_range, init_range], the block's incoming weights within `initial_bound`.
    """
    layout = state_layout(config, dim, classes, tasks)
    state: dict[str, Array] = {name: np.zeros(shape, np.float32) for name, shape in layout.items()}
    for name in ("prompts.g", "prompts.e"):
        if name in state:
            state[name] = _centred(stream.uniform(*layout[name])) * config.prompts.init_range
    if config.one_pass:
        for name, choices in (("prior", config.readout.priors), ("scale", config.readout.scales)):
            state[f"readout.{name}"] += choices[len(choices) // 2]
        return HostState(layout, state)
    if config.block is not None:
        incoming = _centred(stream.uniform(1, config.block.hidden, dim)) * initial_bound(dim)
        state["block.w_in"] = incoming.swapaxes(1, 2).copy()
    state["tasks.current"] -= 1
    state["classes.task"] -= 1
    if config.readout.kind == "rls":
        state |= _initial_readout(config.readout, layout, stream)
    return HostState(layout, state)


def _centred(noise: Array) -> Array:
    """Return numbers in [-1, 1] of noise uniform in [0, 1)."""
    return 2 * noise - 1


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
