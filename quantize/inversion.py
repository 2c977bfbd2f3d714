"""The inverse of a positive definite matrix in operators that every runtime has.

ExecuTorch has no kernel for an inverse. Here one is eliminated, a block of rows and columns at a
time, by the sweep operator (Goodnight, The American Statistician, 1979): with E the block's columns
of the identity, ``U = A E - E`` and ``D = E' A E``, a step is ``A <- A - U D^-1 U' - 2 E E'``, and
after all blocks stands -A^-1. The matrix is scaled to a unit diagonal before, so that no pivot
exceeds 1 and single precision loses no more than LAPACK's elimination does.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan_op

__all__ = ["INVERSE_DECOMPOSITION", "inverse_by_sweeps"]

_BLOCK = 16  # rows; ExecuTorch's product of thinner matrices is many times slower


def inverse_by_sweeps(matrix: Tensor) -> Tensor:
    """Return the inverse [N, N] of a symmetric positive definite matrix [N, N]."""
    size = len(matrix)
    padding = -size % _BLOCK
    eye = _identity(size + padding, matrix)
    root = (matrix * _identity(size, matrix)).sum(dim=1).rsqrt()
    scales = root.unsqueeze(0) * root.unsqueeze(1)
    outside = eye * (torch.arange(size + padding) >= size)  # its inverse is itself
    start = F.pad(matrix * scales, (0, padding, 0, padding)) + outside

    swept = _sweep(start, eye.view(-1, _BLOCK, size + padding), _inverse_of_block)
    return -swept[:size, :size] * scales


def _sweep(matrix: Tensor, steps: Tensor, invert: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a matrix [N, N] swept by each of ``steps`` [M, K, N], rows of the identity."""

    def step(swept: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        columns = swept @ rows.T
        beside = columns - rows.T
        swept = swept - beside @ invert(rows @ columns) @ beside.T - 2 * rows.T @ rows
        return swept, swept[0, :1].clone()  # a scan gives something at every step

    # Not through `scan`, which compiles first, and takes another size for one that varies.
    swept: Tensor = scan_op(step, [matrix], [steps], additional_inputs=())[0]
    return swept


def _inverse_of_block(block: Tensor) -> Tensor:
    """Return a small matrix's inverse, swept a row at a time."""
    index = torch.arange(_BLOCK)
    for number in range(_BLOCK):
        row = (index == number).to(block.dtype).unsqueeze(1)
        column = block @ row
        beside = column - row
        block = block - beside @ beside.T / (row.T @ column) - 2 * row @ row.T
    return -block


def _identity(size: int, like: Tensor) -> Tensor:
    index = torch.arange(size)
    return (index.unsqueeze(0) == index.unsqueeze(1)).to(like.dtype)


def _inverse_and_no_error(matrix: Tensor, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    return inverse_by_sweeps(matrix), torch.zeros((), dtype=torch.int32)


# For `make_fx`: what `torch.linalg.inv` is made of.
INVERSE_DECOMPOSITION = {torch.ops.aten.linalg_inv_ex.default: _inverse_and_no_error}
