"""Products and cosines with many rows, in the form that costs a device least.

`x @ rows.T` is a copy of the rows, transposed, before the product wherever a kernel has no
transposed product; and a device's power function is slower than a multiplication by far.
"""

import torch
from torch import Tensor

__all__ = ["cosines", "times_rows", "unit_rows"]

_LEAST = 1e-12  # a row's norm, as in torch's `normalize`


def times_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return the products [B, C] of each of x [B, D] with each of the rows [C, D]."""
    return (rows @ x.T).T


def unit_rows(x: Tensor) -> Tensor:
    """Return the rows of x [C, D] at a norm of 1; a row of zeros stays."""
    return x * torch.rsqrt((x * x).sum(dim=1, keepdim=True).clamp(min=_LEAST**2))


def cosines(x: Tensor, rows: Tensor) -> Tensor:
    """Return the cosine [B, C] of each of x [B, D] with each of the rows [C, D], in [-1, 1]."""
    return times_rows(unit_rows(x), unit_rows(rows))
