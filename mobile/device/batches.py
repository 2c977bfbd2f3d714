"""Batches of any size for a program, whose methods take batches of one fixed size."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from cbpnet.method.layout import MethodName
from mobile.device.program import Program

__all__ = ["fold_batches", "map_batches"]

_Tensors = Mapping[str, Tensor]

# What marks a row as padding, of the tensors by which a method tells it; the others repeat the last
# real row: numbers that the network is made for.
_PADDING = {"labels": -1, "weight": 0}


def map_batches(
    program: Program, method: MethodName, rows: _Tensors, rest: _Tensors
) -> dict[str, Tensor]:
    """Return what a method gives for each of the rows [N, ...] of some tensors, beside the rest."""
    found = [
        {name: value[:real] for name, value in program.call(method, {**rest, **batch}).items()}
        for real, batch in _batches(program, method, rows)
    ]
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def fold_batches(
    program: Program, method: MethodName, rows: _Tensors, rest: _Tensors, carried: _Tensors
) -> dict[str, Tensor]:
    """Return what is ``carried`` from batch to batch of rows [N, ...] after the last of them.

    A method takes it, beside the rest, and gives those tensors of it that it changes.
    """
    after = dict(carried)
    for _, batch in _batches(program, method, rows):
        after |= program.call(method, {**rest, **after, **batch})
    return after


def _batches(
    program: Program, method: MethodName, rows: _Tensors
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield batches of the method's size, and how many of their rows are real."""
    inputs = program.manifest.methods[method].inputs
    size = next(tensor.shape[0] for tensor in inputs if tensor.name in rows)
    parts = zip(*(tensor.split(size) for tensor in rows.values()), strict=True)
    for part in parts:
        real = len(part[0])
        batch = dict(zip(rows, part, strict=True))
        yield real, batch if real == size else _padded(batch, real, size)


def _padded(batch: _Tensors, real: int, size: int) -> dict[str, Tensor]:
    place = torch.arange(size)
    repeated = {name: values[place.clamp(max=real - 1)] for name, values in batch.items()}
    marked = {
        name: repeated[name].where(place < real, value)
        for name, value in _PADDING.items()
        if name in repeated
    }
    return repeated | marked
