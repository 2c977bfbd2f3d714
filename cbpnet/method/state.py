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
and hidden units.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, Self

import torch
from torch import Tensor

__all__ = ["Axes", "Counted", "Layout", "LearnerState", "sized"]

# What an axis counts whose length is the capacity.
Counted = Literal["classes", "tasks"]
# Tensors by name, in order: the lengths of their axes, or what an axis counts.
Axes = dict[str, tuple[int | Counted, ...]]
Layout = dict[str, tuple[int, ...]]


def sized(axes: Axes, capacity: Mapping[Counted, int]) -> Layout:
    """Return the shapes that tensors have in a capacity."""
    return {
        name: tuple(axis if isinstance(axis, int) else capacity[axis] for axis in shape)
        for name, shape in axes.items()
    }


class LearnerState(Mapping[str, Tensor]):
    """An immutable, ordered mapping of names to fp32 tensors that fits a layout.

    Raises ``ValueError`` where names or shapes differ from the layout.
    """

    def __init__(self, layout: Layout, tensors: Mapping[str, Tensor]) -> None:
        for name in layout.keys() ^ tensors.keys():
            where = "missing from" if name in layout else "unknown to"
            raise ValueError(f"state tensor {name!r} is {where} this learner's layout")
        for name, shape in layout.items():
            if tuple(tensors[name].shape) != shape:
                found = tuple(tensors[name].shape)
                raise ValueError(f"state tensor {name!r} is {found}, the layout says {shape}")
        self.layout = layout
        self._tensors = {name: tensors[name] for name in layout}

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def replace(self, changes: Mapping[str, Tensor]) -> Self:
        """Return a state with some tensors exchanged; the others are shared, not copied."""
        return type(self)(self.layout, {**self._tensors, **changes})

    def to(self, dtype: torch.dtype) -> Self:
        """Return the state in another precision, for instance float64 as a reference."""
        return type(self)(self.layout, {name: value.to(dtype) for name, value in self.items()})

    @property
    def known_tasks(self) -> int:
        """The number of tasks that have been begun."""
        return int(self["tasks.known"].sum())

    @property
    def bytes(self) -> int:
        """The size of the tensors in bytes."""
        return sum(value.nbytes for value in self.values())
