"""The learner's state: one ordered set of named fp32 tensors, and the layout that fixes the order.

| name | shape | what it is |
|---|---|---|
| `prompts.g` | G layers, 2, length, D | the G-prompt: prefix keys and values |
| `prompts.e` | T, E layers, 2, length, D | one E-prompt a task |
| `prompts.keys` | T, D | one key a task |
| `block.w_in`, `block.b_in`, `block.w_out` | L, D, H; L, H; L, H, D | the CBP block |
| `head.weight`, `head.bias` | C, D; C | the classifier; a bias if it is linear |
| `adam.m.*`, `adam.v.*` | as trained | Adam's moments; of the current task's E-prompt and key |
| `adam.step` | 1 | steps since the task began |
| `cbp.utility`, `cbp.age`, `cbp.accumulator` | L, H; L, H; L | unit statistics of the block |
| `cbp.prompt_utility`, `cbp.prompt_age` | G layers, length | where G-prompt tokens are replaced |
| `cbp.prompt_accumulator` | G layers | likewise |
| `tasks.current` | 1 | the task that is being learnt, -1 before the first |
| `tasks.known` | T | 1 for tasks that exist |
| `classes.task` | C | the task that each class belongs to, -1 for one not yet known |
| `classes.count`, `classes.mean` | C; C, D | images seen of each class, and their mean query |
| `readout.projection` | D, M | M random features of the query, where used |
| `readout.inverse`, `readout.weight` | N, N; C, N | recursive least squares, N = D + M + 1 |

D is the backbone's width, T and C the capacity in tasks and classes, L and H the block's layers
and hidden units. The one-pass learner has `prompts.g` and

| name | shape | what it is |
|---|---|---|
| `classes.count`, `classes.mean` | C; C, F | images seen of each class, and their mean features |
| `classes.scatter` | F, F | the scatter within the classes, of all images |
| `readout.weight`, `readout.bias` | C, F; C | the classifier that was solved from these |
| `readout.prior`, `readout.scale` | 1; 1 | what it was solved with |
| `unknown.centre`, `unknown.metric` | F; F, F | what unknown scores are made of |
| `unknown.slope`, `unknown.offset` | C; C | likewise |
| `unknown.threshold` | 1 | an image is like nothing known above it; infinity: none is |
| `readout.evidence` | priors, scales | log-likelihoods that chose the prior, summed over lessons |
| `readout.calibration` | scales | those that chose the scale, without pictures nearly alike |
| `lessons.count`, `lessons.adapted` | 1; 1 | lessons so far, and those that adapted the features |
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cbpnet.host.arrays import Array
from cbpnet.method.layout import Layout

if TYPE_CHECKING:
    import torch

__all__ = ["HostState", "LearnerState", "State"]


# Tensors or arrays: both have a shape, comparisons, a sum and a size in bytes.
_Value = TypeVar("_Value", bound=Any)


class State(Mapping[str, _Value]):
    """An immutable, ordered mapping of names to fp32 numbers that fits a layout.

    Raises ``ValueError`` where names or shapes differ from the layout.
    """

    def __init__(self, layout: Layout, tensors: Mapping[str, _Value]) -> None:
        for name in layout.keys() ^ tensors.keys():
            where = "missing from" if name in layout else "unknown to"
            raise ValueError(f"state tensor {name!r} is {where} this learner's layout")
        for name, shape in layout.items():
            if tuple(tensors[name].shape) != shape:
                found = tuple(tensors[name].shape)
                raise ValueError(f"state tensor {name!r} is {found}, the layout says {shape}")
        self.layout = layout
        self._tensors = {name: tensors[name] for name in layout}

    def __getitem__(self, name: str) -> _Value:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def replace(self, changes: Mapping[str, _Value]) -> Self:
        """Return a state with some tensors exchanged; the others are shared, not copied."""
        return type(self)(self.layout, {**self._tensors, **changes})

    @property
    def known_tasks(self) -> int:
        """The number of tasks that have been begun, or of lessons where there are no tasks."""
        return int(self["tasks.known" if "tasks.known" in self else "lessons.count"].sum())

    @property
    def known_classes(self) -> int:
        """The number of classes that have been learnt."""
        if "classes.task" in self:
            return int((self["classes.task"] >= 0).sum())
        return int((self["classes.count"] > 0).sum())

    @property
    def bytes(self) -> int:
        """The size of the tensors in bytes."""
        return sum(value.nbytes for value in self.values())


class HostState(State[Array]):
    """The state as a host keeps it, of arrays."""


class LearnerState(State["torch.Tensor"]):
    """The state as the learner's pure functions take and give it, of tensors."""

    def to(self, dtype: "torch.dtype") -> Self:
        """Return the state in another precision, for instance float64 as a reference."""
        return type(self)(self.layout, {name: value.to(dtype) for name, value in self.items()})
