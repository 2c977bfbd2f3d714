"""Batches of any size for a program, whose methods take batches of one fixed size."""

from collections.abc import Iterator, Mapping

import numpy as np

from cbpnet.host.arrays import Array
from cbpnet.method.layout import MethodName
from cbpnet.run.training import portions
from mobile.device.program import Program

__all__ = ["fold_batches", "map_batches"]

_Arrays = Mapping[str, Array]

# What marks a row as padding, of the tensors by which a method tells it; the others repeat the last
# real row: numbers that the network is made for.
_PADDING = {"labels": -1, "weight": 0}


def map_batches(
    program: Program, method: MethodName, rows: _Arrays, rest: _Arrays
) -> dict[str, Array]:
    """Return what a method gives for each of the rows [N, ...] of some tensors, beside the rest."""
    found = [
        {name: value[:real] for name, value in program.call(method, {**rest, **batch}).items()}
        for real, batch in _batches(program, method, rows)
    ]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def fold_batches(
    program: Program, method: MethodName, rows: _Arrays, rest: _Arrays, carried: _Arrays
) -> dict[str, Array]:
    """Return what is ``carried`` from batch to batch of rows [N, ...] after the last of them.

    A method takes it, beside the rest, and gives those tensors of it that it changes.
    """
    after = dict(carried)
    for _, batch in _batches(program, method, rows):
        after |= program.call(method, {**rest, **after, **batch})
    return after


def _batches(
    program: Program, method: MethodName, rows: _Arrays
) -> Iterator[tuple[int, dict[str, Array]]]:
    """Yield batches of the method's size, and how many of their rows are real."""
    inputs = program.manifest.methods[method].inputs
    size = next(tensor.shape[0] for tensor in inputs if tensor.name in rows)
    parts = zip(*(portions(array, size) for array in rows.values()), strict=True)
    for part in parts:
        real = len(part[0])
        batch = dict(zip(rows, part, strict=True))
        yield real, batch if real == size else _padded(batch, real, size)


def _padded(batch: _Arrays, real: int, size: int) -> dict[str, Array]:
    place = np.arange(size)
    repeated = {name: values[place.clip(max=real - 1)] for name, values in batch.items()}
    for name, value in _PADDING.items():
        if name in repeated:
            repeated[name][real:] = value
    return repeated
