"""A learner's state before it knows any class."""

import torch

from cbpnet.method.block import initial_incoming
from cbpnet.method.config import LearnerConfig
from cbpnet.method.layout import state_layout
from cbpnet.method.prompts import initial_prompt
from cbpnet.method.readout import initial_readout
from cbpnet.method.state import LearnerState

__all__ = ["draw_state"]


def draw_state(
    config: LearnerConfig, dim: int, classes: int, tasks: int, generator: torch.Generator
) -> LearnerState:
    """Return the state before any class is known; prompts and block draw from the generator.

    ``dim`` is the backbone's width D; ``classes`` and ``tasks`` are the capacity C and T.
    """
    layout = state_layout(config, dim, classes, tasks)
    state = {name: torch.zeros(shape) for name, shape in layout.items()}
    for name in ("prompts.g", "prompts.e"):
        if name in state:
            noise = torch.rand(layout[name], generator=generator)
            state[name] = initial_prompt(noise, config.prompts.init_range)
    if config.one_pass:
        for name, choices in (("prior", config.readout.priors), ("scale", config.readout.scales)):
            state[f"readout.{name}"] += choices[len(choices) // 2]
        return LearnerState(layout, state)
    if config.block is not None:
        noise = torch.rand(1, config.block.hidden, dim, generator=generator)
        state["block.w_in"] = initial_incoming(noise).mT.contiguous()
    state["tasks.current"] -= 1
    state["classes.task"] -= 1
    state |= initial_readout(config.readout, dim, classes, generator)
    return LearnerState(layout, state)
