"""Which tensors a learner trains and which it keeps: names, shapes and order.

`cbpnet.method.state` has the table that says what each of them is.
"""

from cbpnet.method.config import LearnerConfig
from cbpnet.method.readout import readout_layout
from cbpnet.method.state import Layout

__all__ = ["FORWARD_METHODS", "POOL_OF", "noise_shape", "state_layout", "trainable_layout"]

# The methods of a learner that need no gradient.
FORWARD_METHODS = ("query", "predict")

# The trainables that are the current task's entry of a pool, and the pool.
POOL_OF = {"prompts.e": "prompts.e", "prompts.key": "prompts.keys"}


def trainable_layout(config: LearnerConfig, dim: int, classes: int) -> Layout:
    """Return what one step changes; of the pools, the current task's entry [1, ...]."""
    prompts, block = config.prompts, config.block
    layout: Layout = {}
    if prompts.g_layers:
        layout["prompts.g"] = (len(prompts.g_layers), 2, prompts.g_length, dim)
    if prompts.e_layers:
        layout["prompts.e"] = (1, len(prompts.e_layers), 2, prompts.e_length, dim)
        layout["prompts.key"] = (1, dim)
    if block is not None:
        layout["block.w_in"] = (1, dim, block.hidden)
        layout["block.b_in"] = (1, block.hidden)
        layout["block.w_out"] = (1, block.hidden, dim)
    layout["head.weight"] = (classes, dim)
    if config.head.kind == "linear":
        layout["head.bias"] = (classes,)
    return layout


def noise_shape(config: LearnerConfig, dim: int) -> tuple[int, ...]:
    """Return the shape of the random numbers of a step: [replacements at most, 1, D]."""
    rows = config.cbp.max_replacements(config.block.hidden) if config.block else 0
    return rows, 1, dim


def state_layout(config: LearnerConfig, dim: int, classes: int, tasks: int) -> Layout:
    """Return the whole state of a learner with a capacity of C classes and T tasks."""
    trainables = trainable_layout(config, dim, classes)
    layout: Layout = {}
    for name, shape in trainables.items():
        pool = POOL_OF.get(name)
        layout[pool or name] = (tasks, *shape[1:]) if pool else shape
    for moment in ("m", "v"):
        layout |= {f"adam.{moment}.{name}": shape for name, shape in trainables.items()}
    layout["adam.step"] = (1,)
    if config.block is not None:
        units = (1, config.block.hidden)
        layout |= {"cbp.utility": units, "cbp.age": units, "cbp.accumulator": (1,)}
    layout |= {"tasks.current": (1,), "tasks.known": (tasks,), "classes.task": (classes,)}
    return layout | readout_layout(config.readout, dim, classes)
