"""What a learner's functions and tensors are called, and the shapes and order of its tensors.

They are written here once; a bundle's manifest carries them to every host. `cbpnet.method.state`
has the table that says what each tensor of the state is.
"""

import math
from collections.abc import Mapping
from typing import Literal, TypeVar, get_args

from cbpnet.method.config import LearnerConfig, ReadoutConfig

__all__ = [
    "FORWARD_METHODS",
    "METHODS",
    "MOMENTS",
    "POOL_OF",
    "STATE",
    "SUMS",
    "Axes",
    "Counted",
    "Layout",
    "MethodName",
    "count_parameters",
    "counted_axes",
    "noise_shape",
    "part",
    "prefixed",
    "readout_axes",
    "sized",
    "state_layout",
    "stored_in",
    "trainable_layout",
    "unprefixed",
]

# What an axis counts whose length is the capacity.
Counted = Literal["classes", "tasks"]
# Tensors by name, in order: the lengths of their axes, or what an axis counts.
Axes = dict[str, tuple[int | Counted, ...]]
Layout = dict[str, tuple[int, ...]]

MethodName = Literal[
    "initial_state", "query", "observe", "begin_task", "predict", "gradients", "update"
]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
# Those that need no gradient, and that an accelerator may run.
FORWARD_METHODS: tuple[MethodName, ...] = ("query", "predict")

# What stands before a name where a method takes or gives tensors of the state, and gradient sums.
STATE, SUMS = "state.", "sums."

# The trainables that are the current task's entry of a pool, and the pool.
POOL_OF = {"prompts.e": "prompts.e", "prompts.key": "prompts.keys"}

# What stands before a trainable's name in those of Adam's moments.
MOMENTS = ("adam.m.", "adam.v.")

_Value = TypeVar("_Value")


def sized(axes: Axes, capacity: Mapping[Counted, int]) -> Layout:
    """Return the shapes that tensors have in a capacity."""
    return {
        name: tuple(axis if isinstance(axis, int) else capacity[axis] for axis in shape)
        for name, shape in axes.items()
    }


def trainable_layout(config: LearnerConfig, dim: int, classes: int) -> Layout:
    """Return what one step changes; of the pools, the current task's entry [1, ...]."""
    return sized(_trainable_axes(config, dim), {"classes": classes})


def state_layout(config: LearnerConfig, dim: int, classes: int, tasks: int) -> Layout:
    """Return the whole state of a learner with a capacity of C classes and T tasks."""
    return sized(_state_axes(config, dim), {"classes": classes, "tasks": tasks})


def counted_axes(config: LearnerConfig, dim: int) -> dict[str, Counted | None]:
    """Return what the first axis of each tensor of the state counts, if classes or tasks.

    No other axis counts them.
    """
    first = {name: axes[0] for name, axes in _state_axes(config, dim).items()}
    return {name: None if isinstance(axis, int) else axis for name, axis in first.items()}


def readout_axes(config: ReadoutConfig, dim: int) -> Axes:
    """Return the names and axes of the readout's statistics.

    The class means serve the block's objective and a new class's head as well, so they are always
    kept.
    """
    axes: Axes = {"classes.count": ("classes",), "classes.mean": ("classes", dim)}
    if config.kind == "rls":
        inputs = dim + config.features + 1
        axes |= {
            "readout.projection": (dim, config.features),
            "readout.inverse": (inputs, inputs),
            "readout.weight": ("classes", inputs),
        }
    return axes


def noise_shape(config: LearnerConfig, dim: int) -> tuple[int, ...]:
    """Return the shape of the random numbers of a step: [replacements at most, 1, D]."""
    rows = config.cbp.max_replacements(config.block.hidden) if config.block else 0
    return rows, 1, dim


def part(name: str) -> str:
    """Return the part of a learner that a tensor belongs to: "prompts", "block", "head", "adam"."""
    return name.partition(".")[0]


def count_parameters(layout: Layout, *parts: str) -> int:
    """Return how many numbers the tensors of some parts of a learner have."""
    return sum(math.prod(shape) for name, shape in layout.items() if part(name) in parts)


def stored_in(trainable: str) -> str:
    """Return the state's tensor that holds a trainable."""
    return POOL_OF.get(trainable, trainable)


def prefixed(prefix: str, tensors: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return tensors under their names with a prefix, `STATE` or `SUMS`."""
    return {prefix + name: value for name, value in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return those of some tensors that have a prefix, under their names without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _trainable_axes(config: LearnerConfig, dim: int) -> Axes:
    prompts, block = config.prompts, config.block
    axes: Axes = {}
    if prompts.g_layers:
        axes["prompts.g"] = (len(prompts.g_layers), 2, prompts.g_length, dim)
    if prompts.e_layers:
        axes["prompts.e"] = (1, len(prompts.e_layers), 2, prompts.e_length, dim)
        axes["prompts.key"] = (1, dim)
    if block is not None:
        axes["block.w_in"] = (1, dim, block.hidden)
        axes["block.b_in"] = (1, block.hidden)
        axes["block.w_out"] = (1, block.hidden, dim)
    axes["head.weight"] = ("classes", dim)
    if config.head.kind == "linear":
        axes["head.bias"] = ("classes",)
    return axes


def _state_axes(config: LearnerConfig, dim: int) -> Axes:
    trainables = _trainable_axes(config, dim)
    axes: Axes = {}
    for name, own in trainables.items():
        axes[stored_in(name)] = ("tasks", *own[1:]) if name in POOL_OF else own
    for moment in MOMENTS:
        axes |= prefixed(moment, trainables)
    axes["adam.step"] = (1,)
    if config.block is not None:
        units = (1, config.block.hidden)
        axes |= {"cbp.utility": units, "cbp.age": units, "cbp.accumulator": (1,)}
    axes |= {"tasks.current": (1,), "tasks.known": ("tasks",), "classes.task": ("classes",)}
    return axes | readout_axes(config.readout, dim)
