"""What a learner's functions and tensors are called, and the shapes and order of its tensors.

They are written here once; a bundle's manifest carries them to every host. `cbpnet.method.state`
has the table that says what each tensor of the state is.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeVar

from cbpnet.method.config import LearnerConfig, ReadoutConfig
from cbpnet.method.feature_names import feature_size

__all__ = [
    "ADAPTATION",
    "DRIFT",
    "DRIFT_OF_CLASSES",
    "MOMENTS",
    "POOL_OF",
    "STATE",
    "SUMS",
    "Axes",
    "Counted",
    "Layout",
    "MethodName",
    "adaptation_config",
    "count_parameters",
    "counted_axes",
    "drift_layout",
    "feature_width",
    "forward_methods",
    "is_adapted",
    "methods_of",
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
    "initial_state",
    "query",
    "features",
    "observe",
    "begin_task",
    "solve",
    "leave_one_out",
    "predict",
    "compare",
    "carry",
    "gradients",
    "update",
]
_TASK_METHODS: tuple[MethodName, ...] = (
    "initial_state",
    "query",
    "observe",
    "begin_task",
    "predict",
    "gradients",
    "update",
)
_COUNTING: tuple[MethodName, ...] = (
    "initial_state",
    "features",
    "observe",
    "solve",
    "leave_one_out",
    "predict",
)
_ADAPTING: tuple[MethodName, ...] = ("begin_task", "gradients", "update", "compare", "carry")

# What stands before a name where a method takes or gives tensors of the state, sums over images,
# the state of an adaptation, and pairs of features before and after it.
STATE, SUMS, ADAPTATION, DRIFT = "state.", "sums.", "adaptation.", "drift."

# The sums over pairs of features that have a row for each class.
DRIFT_OF_CLASSES = ("count", "before", "after")

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


def methods_of(config: LearnerConfig) -> tuple[MethodName, ...]:
    """Return the functions of a learner, in the order of a bundle."""
    if not config.one_pass:
        return _TASK_METHODS
    return _COUNTING if config.adaptation.kind == "never" else (*_COUNTING, *_ADAPTING)


def forward_methods(config: LearnerConfig) -> tuple[MethodName, ...]:
    """Return those that go through the backbone without gradients: an accelerator may run them."""
    return ("features",) if config.one_pass else ("query", "predict")


def adaptation_config(config: LearnerConfig) -> LearnerConfig:
    """Return the settings of what adapts a one-pass learner's G-prompt: a task of the paper's.

    It has a cosine head that is thrown away, and neither E-prompts, block nor readout.
    """
    return replace(
        config,
        adaptation=replace(config.adaptation, kind="cbpnet"),
        features=("pooled",),
        readout=ReadoutConfig("none"),
    )


def drift_layout(config: LearnerConfig, dim: int, classes: int) -> Layout:
    """Return the sums over pairs of features before and after an adaptation, see `Drift`."""
    width = feature_width(config, dim)
    square, rows = (width, width), (classes, width)
    return {
        "before_before": square,
        "before_after": square,
        "after_after": square,
        "pairs": (1,),
        "count": (classes,),
        "before": rows,
        "after": rows,
    }


def feature_width(config: LearnerConfig, dim: int) -> int:
    """Return the size F of a one-pass learner's features."""
    return sum(feature_size(name, dim) for name in config.features)


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
    """Return the shape of the random numbers of a step: [replacements at most, layers, numbers].

    A new unit of the block takes D numbers, a new token of the G-prompt 2 D.
    """
    prompts, cbp = config.prompts, config.prompt_cbp
    if cbp is not None:
        return cbp.max_replacements(prompts.g_length), len(prompts.g_layers), 2 * dim
    rows = config.cbp.max_replacements(config.block.hidden) if config.block else 0
    return rows, 1, dim


def part(name: str) -> str:
    """Return the part of a learner that a tensor belongs to: "prompts", "block", "head", "adam"."""
    return name.partition(".")[0]


def is_adapted(name: str) -> bool:
    """Return whether an adaptation changes a tensor of a one-pass learner's state.

    They are the G-prompt and the statistics of its tokens, and stand in the adaptation's state
    under the same names.
    """
    return part(name) in ("prompts", "cbp")


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
    return _one_pass_axes(config, dim) if config.one_pass else _task_axes(config, dim)


def _one_pass_axes(config: LearnerConfig, dim: int) -> Axes:
    width = feature_width(config, dim)
    trainables = _trainable_axes(config, dim)
    axes: Axes = {name: own for name, own in trainables.items() if part(name) == "prompts"}
    axes |= _prompt_unit_axes(config)
    axes |= {
        "classes.count": ("classes",),
        "classes.mean": ("classes", width),
        "classes.scatter": (width, width),
        "readout.weight": ("classes", width),
        "readout.bias": ("classes",),
        "unknown.centre": (width,),
        "unknown.metric": (width, width),
        "unknown.slope": ("classes",),
        "unknown.offset": ("classes",),
    }
    readout = config.readout
    axes["readout.evidence"] = (len(readout.priors), len(readout.scales))
    axes["readout.calibration"] = (len(readout.scales),)
    numbers = (
        *("readout.prior", "readout.scale", "unknown.threshold"),
        *("lessons.count", "lessons.adapted"),
    )
    return axes | dict.fromkeys(numbers, (1,))


def _task_axes(config: LearnerConfig, dim: int) -> Axes:
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
    axes |= _prompt_unit_axes(config)
    axes |= {"tasks.current": (1,), "tasks.known": ("tasks",), "classes.task": ("classes",)}
    return axes | readout_axes(config.readout, dim)


def _prompt_unit_axes(config: LearnerConfig) -> Axes:
    if config.prompt_cbp is None:
        return {}
    layers, length = len(config.prompts.g_layers), config.prompts.g_length
    units = (layers, length)
    return {
        "cbp.prompt_utility": units,
        "cbp.prompt_age": units,
        "cbp.prompt_accumulator": (layers,),
    }
